"""An HTTP client for endpoints that administrators have typed in: it connects to checked addresses, and reads no flood.

It is imported on first use, together with the SDK whose transport it is.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from typing import Final, NoReturn

import httpcore2
import httpx2

from integrations.endpoint_guard import EndpointGuard, EndpointRefused

# A list of models, an error, or one event of a stream: far more than any of them has.
MAX_BODY_BYTES: Final = 16 * 1024 * 1024
_LIMITS: Final = httpx2.Limits(max_connections=1000, max_keepalive_connections=100, keepalive_expiry=30.0)


class _ConnectionRefused(httpcore2.ConnectError, EndpointRefused):
    """A connection that is not made."""


class _AnswerRefused(httpx2.ReadError, EndpointRefused):
    """An answer that is not read to its end."""


def guarded_client(guard: EndpointGuard, *, timeout: httpx2.Timeout) -> httpx2.AsyncClient:
    """Follows no redirect, uses no proxy of the environment, and connects only where `guard` allows."""
    context = httpx2.create_ssl_context()
    return httpx2.AsyncClient(
        transport=_GuardedTransport(guard, context, is_plain=False),
        mounts={"http://": _GuardedTransport(guard, context, is_plain=True)},
        trust_env=False,
        follow_redirects=False,
        timeout=timeout,
        # What is not packed cannot grow beyond its bounds when it is unpacked.
        headers={"accept-encoding": "identity"},
    )


class _GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Looks a host up, checks what it finds, and connects to exactly that: nobody looks it up a second time."""

    def __init__(self, guard: EndpointGuard, *, is_plain: bool) -> None:
        self._guard = guard
        self._is_plain = is_plain
        self._sockets = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """The first of the host's addresses that answers. TLS still asks for the host by its name."""
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._guard.addresses(host, port, is_plain=self._is_plain)
                share = None if timeout is None else timeout / len(addresses)
                for address in addresses[:-1]:
                    try:
                        return await self._connect(address, port, share, local_address, socket_options)
                    except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                        continue
                return await self._connect(addresses[-1], port, share, local_address, socket_options)
        except EndpointRefused as refused:
            raise _ConnectionRefused(str(refused)) from refused
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(str(error)) from error

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> NoReturn:
        """Never."""
        raise _ConnectionRefused("This server talks to endpoints over the network only.")

    async def sleep(self, seconds: float) -> None:
        """Between two tries, of which there are none here."""
        await asyncio.sleep(seconds)

    async def _connect(
        self,
        address: str,
        port: int,
        timeout: float | None,
        local_address: str | None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None,
    ) -> httpcore2.AsyncNetworkStream:
        return await self._sockets.connect_tcp(
            address, port, timeout=timeout, local_address=local_address, socket_options=socket_options
        )


class _GuardedTransport(httpx2.AsyncHTTPTransport):
    """httpx's own transport, on a pool whose connections are guarded; it offers no other way to such a pool."""

    def __init__(self, guard: EndpointGuard, context: ssl.SSLContext, *, is_plain: bool) -> None:
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=context,
            max_connections=_LIMITS.max_connections,
            max_keepalive_connections=_LIMITS.max_keepalive_connections,
            keepalive_expiry=_LIMITS.keepalive_expiry,
            network_backend=_GuardedBackend(guard, is_plain=is_plain),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The answer, whose body ends in an error when it grows too large."""
        response = await super().handle_async_request(request)
        stream = response.stream
        assert isinstance(stream, httpx2.AsyncByteStream)  # noqa: S101  (made in the line before)
        if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
            await stream.aclose()
            raise _AnswerRefused("It sends packed answers, although it was asked not to.")
        is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
        response.stream = _BoundedStream(stream, is_stream=is_stream)
        return response


class _BoundedStream(httpx2.AsyncByteStream):
    """A body of bounded size; a stream of events is as long as it likes, but none of its lines is."""

    def __init__(self, stream: httpx2.AsyncByteStream, *, is_stream: bool) -> None:
        self._stream = stream
        self._is_stream = is_stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size_bytes = 0
        async for part in self._stream:
            newline = part.rfind(b"\n") if self._is_stream else -1
            size_bytes = size_bytes + len(part) if newline < 0 else len(part) - newline
            if size_bytes > MAX_BODY_BYTES:
                raise _AnswerRefused("It answers with far more than such an endpoint has to say.")
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()
