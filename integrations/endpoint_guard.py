"""Which addresses an endpoint that was typed in may lead to: public ones, and what the operator lists."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Self, TypeAlias
from urllib.parse import urlsplit

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]

RESOLVE_TIMEOUT_SECONDS: Final = 10.0
MAX_ADDRESSES: Final = 8
_CURE: Final = "The server's operator can allow it in PRIVATE_ENDPOINTS."

# Not even the operator's list opens these: a cloud's metadata services, which hand out credentials (AWS, Google, Azure,
# Oracle, Alibaba), whatever else is link-local, and what is no single machine's address.
_NEVER: Final[tuple[Network, ...]] = tuple(
    ip_network(each)
    for each in (
        *("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32"),
        *("100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"),
        *("::/128", "fe80::/10", "ff00::/8", "fd00:ec2::254/128", "fd20:ce::254/128"),
    )
)
# IPv4 in disguise and relays, which `is_global` takes for public.
_NOT_PUBLIC: Final[tuple[Network, ...]] = tuple(
    ip_network(each) for each in ("192.88.99.0/24", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16")
)
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")


class EndpointRefused(Exception):
    """This server does not talk to such an endpoint; the message is written for the person who meets it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateEndpoints:
    """What the operator lists: hosts by name, and networks."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def listed(cls, entries: Iterable[str]) -> Self:
        """From names, addresses and networks."""
        hosts, networks = set(), []
        for entry in entries:
            try:
                networks.append(ip_network(entry, strict=False))
            except ValueError:
                hosts.add(_normal(entry))
        return cls(hosts=frozenset(hosts), networks=tuple(networks))


class EndpointGuard:
    """Finds the addresses of a host, and lets pass only those that this server may talk to."""

    def __init__(self, private: PrivateEndpoints, *, resolve: Resolve | None = None) -> None:
        self._private = private
        self._resolve = resolve or _resolve

    async def find_objection(self, url: str) -> str | None:
        """Why this server would not talk to an endpoint, as things are now; None when it would."""
        parts = urlsplit(url)
        is_plain = parts.scheme != "https"
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_SECONDS):
                await self.addresses(parts.hostname or "", parts.port or (80 if is_plain else 443), is_plain=is_plain)
        except EndpointRefused as refused:
            return str(refused)
        except TimeoutError:
            return f"The host {parts.hostname} could not be looked up in {RESOLVE_TIMEOUT_SECONDS:g} s."
        return None

    async def addresses(self, host: str, port: int, *, is_plain: bool) -> tuple[str, ...]:
        """Where to connect to: all of the host's addresses, every one of them checked. Raises EndpointRefused.

        One address that is refused refuses the host: whoever mixes them is trying something.
        """
        try:
            found = tuple(dict.fromkeys(await self._resolve(host, port)))
        except (OSError, UnicodeError) as error:
            raise EndpointRefused(f"The host {host} cannot be found. Check the endpoint's address.") from error
        for address in found:
            self._check(host, address, is_plain=is_plain)
        if not found:
            raise EndpointRefused(f"The host {host} has no address. Check the endpoint's address.")
        return found[:MAX_ADDRESSES]

    def _check(self, host: str, address: str, *, is_plain: bool) -> None:
        unwrapped = _unwrapped(ip_address(address.partition("%")[0]))
        if any(_is_in(each, network) for each in (unwrapped, _embedded(unwrapped)) for network in _NEVER):
            raise EndpointRefused(f"The host {host} leads to an address that this server never talks to.")
        is_listed = _normal(host) in self._private.hosts or any(
            _is_in(unwrapped, network) for network in self._private.networks
        )
        if is_listed:
            return
        if not is_public(unwrapped):
            raise EndpointRefused(f"The host {host} leads to an address that is not public. {_CURE}")
        if is_plain:
            raise EndpointRefused(f"The host {host} is on the internet, so its address has to begin with https://.")


def is_public(address: Address) -> bool:
    """Whether it is one machine's address on the internet, and no other address in disguise."""
    return (
        address.is_global
        and not address.is_multicast
        and (address.version == 4 or address in _GLOBAL_UNICAST)
        and not any(_is_in(address, network) for network in _NOT_PUBLIC)
    )


async def _resolve(host: str, port: int) -> Sequence[str]:
    """The operating system's answer, which also reads 2130706433, 0177.0.0.1 and 0x7f.1 as what they mean."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def _unwrapped(address: Address) -> Address:
    """The IPv4 address in an IPv6 one that means nothing else."""
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def _embedded(address: Address) -> Address:
    """Where a relay would take it."""
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
        return address.sixtofour or address
    return address


def _is_in(address: Address, network: Network) -> bool:
    return address.version == network.version and address in network


def _normal(host: str) -> str:
    return host.rstrip(".").lower()
