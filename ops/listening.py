"""The sockets on which the server listens, taken before anything else is started."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from typing import Final

from ops.errors import StartupError

_BACKLOG: Final = 2048
# What has not left for the client waits with the server, where it is seen how fast it is read, and not in the kernel.
_UNSENT_BYTES: Final = 65_536


def listen(host: str, port: int) -> list[socket.socket]:
    """Takes the port on every address of the host, for good: connections wait in line until they are accepted.

    Port 0 takes a free one, the same on each address. Raises StartupError.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise StartupError(f"HOST {host} is no address of this machine: set HOST to one, or to 127.0.0.1.") from error
    sockets: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
            sockets.append(_listen(family, (address[0], port_of(sockets) if sockets else port, *address[2:])))
    except OSError as error:
        for opened in sockets:
            opened.close()
        raise StartupError(_sentence(error, host, port)) from error
    return sockets


def port_of(sockets: Sequence[socket.socket]) -> int:
    """The port that was taken."""
    return int(sockets[0].getsockname()[1])


def _listen(family: int, address: tuple[int | str | bytes, ...]) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # For a restart while old connections are still being forgotten. Two servers cannot listen at once all the
        # same, once listen() is called: so that is done here, and not only when the start-up is through.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)  # the connections inherit it
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(address)
        opened.listen(_BACKLOG)
        opened.setblocking(False)
    except BaseException:
        opened.close()
        raise
    return opened


def _sentence(error: OSError, host: str, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"Port {port} on {host} is in use: stop what uses it, or set PORT to another."
        case errno.EACCES | errno.EPERM:
            return f"Port {port} on {host} may not be used by this user: set PORT to 1024 or above."
        case errno.EADDRNOTAVAIL:
            return f"HOST {host} is no address of this machine: set HOST to one, or to 127.0.0.1."
        case _:
            reason = (error.strerror or "unknown reason").lower()
            return f"Port {port} on {host} cannot be used ({reason}): set HOST or PORT to another."
