"""A stand-in AI provider as an ASGI application, and how to serve one on loopback."""

import asyncio
import json
import re
import socket
import struct
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import ClassVar, Protocol

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tests.standins.scenario import Failure, Finish, Scenario, by_name
from tests.standins.stream import HTML_PAGE, Dialect, EventStream, JsonObject

MAX_RECORDED_REQUESTS = 1000
# Long for any machine, however busy: what is waited for comes at once, or never.
PATIENCE_SECONDS = 60.0
_KEEP_ALIVE_SECONDS = 600
_DIRECTIVE = re.compile(rb"standin:([a-z-]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequest:
    """A request as it arrived. Header names are lower-case; `body` is None when it was no JSON object."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    raw: bytes
    body: JsonObject | None


class ApiError(Exception):
    """An error answer, worded by the provider's stand-in. Without a body it is a gateway's page of HTML."""

    def __init__(self, status: int, body: JsonObject | None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body
        self.headers = dict(headers or {})


Handler = Callable[[Request, RecordedRequest], Awaitable[Response]]


class Standin(ABC):
    """
    What all stand-ins share: the queue of scenarios, the record of requests, the count of open streams.

    A request that makes an answer takes the next queued scenario; without one, the scenario its prompt names by
    `standin:NAME` (see scenario.by_name); without that, `default`. Invalid requests take none. Any key is accepted
    unless it contains "invalid", or differs from `api_key` when one is given.
    """

    name: ClassVar[str]
    # What the provider's SDK takes as base URL, after scheme, host and port.
    base_path: ClassVar[str] = ""
    finishes: ClassVar[frozenset[Finish]]

    def __init__(self, *, default: Scenario | None = None, api_key: str | None = None) -> None:
        self.default = default or Scenario()
        self.api_key = api_key
        self.requests: list[RecordedRequest] = []
        self.streams_open = 0
        self.streams_opened = 0
        # Streams whose client went away, or whose connection a fault dropped, before they were played.
        self.streams_abandoned = 0
        self._queue: deque[Scenario] = deque()
        named = by_name(piece_delay_seconds=self.default.piece_delay_seconds)
        self._named = {name: scenario for name, scenario in named.items() if scenario.finish in self.finishes}
        self.app: ASGIApp = Starlette(routes=[*self.routes(), self.route("/{path:path}", self._nowhere)])

    @abstractmethod
    def routes(self) -> list[Route]:
        """The provider's paths."""

    @abstractmethod
    def failed(self, failure: Failure) -> ApiError:
        """The error as the provider words it."""

    @abstractmethod
    def not_found(self, request: Request) -> ApiError:
        """The answer to a path the provider does not have."""

    def route(self, path: str, handler: Handler, method: str | None = None) -> Route:
        """A route whose requests are recorded and whose ApiErrors become answers."""

        async def endpoint(request: Request) -> Response:
            record = await self._record(request)
            try:
                return await handler(request, record)
            except ApiError as error:
                if error.body is None:
                    return Response(HTML_PAGE, error.status, error.headers, media_type="text/html")
                return JSONResponse(error.body, error.status, error.headers)

        return Route(path, endpoint, methods=[method] if method else ["GET", "POST", "PUT", "PATCH", "DELETE"])

    def enqueue(self, *scenarios: Scenario) -> None:
        """Decides the fate of the next requests, in order."""
        for scenario in scenarios:
            self._check_supported(scenario)
        self._queue.extend(scenarios)

    def accepts(self, key: str) -> bool:
        """Whether the key is a valid one."""
        return key == self.api_key if self.api_key is not None else bool(key) and "invalid" not in key

    def next_scenario(self, record: RecordedRequest) -> Scenario:
        """The scenario of this request. Raises its failure, if that is all there is to it."""
        scenario = self._queue.popleft() if self._queue else self._directed(record) or self.default
        self._check_supported(scenario)
        if scenario.failure is not None and scenario.fault is None:
            error = self.failed(scenario.failure)
            if scenario.retry_after is not None:
                error.headers["retry-after"] = scenario.retry_after
            raise error
        return scenario

    def play(self, scenario: Scenario, dialect: Dialect) -> Response:
        """The response that plays the scenario."""
        return EventStream(scenario, dialect, self)

    def stream_opened(self) -> None:
        self.streams_open += 1
        self.streams_opened += 1

    def stream_closed(self, *, abandoned: bool) -> None:
        self.streams_open -= 1
        self.streams_abandoned += abandoned

    async def wait_closed(self, timeout_seconds: float = PATIENCE_SECONDS) -> None:
        """Returns when no stream is open. Raises TimeoutError."""
        await self._wait(lambda: self.streams_open == 0, timeout_seconds)

    async def wait_requests(self, count: int, timeout_seconds: float = PATIENCE_SECONDS) -> None:
        """Returns when so many requests have arrived. Raises TimeoutError."""
        await self._wait(lambda: len(self.requests) >= count, timeout_seconds)

    async def _wait(self, reached: Callable[[], bool], timeout_seconds: float) -> None:
        # Polls: the server may run in another thread's loop, where an asyncio.Event would not wake us.
        async with asyncio.timeout(timeout_seconds):
            while not reached():  # noqa: ASYNC110 - an Event belongs to one loop
                await asyncio.sleep(0.005)

    def _check_supported(self, scenario: Scenario) -> None:
        if scenario.finish not in self.finishes:
            raise ValueError(f"{self.name} has no way to end an answer by {scenario.finish}")

    def _directed(self, record: RecordedRequest) -> Scenario | None:
        found = _DIRECTIVE.search(record.raw)
        return self._named.get(found[1].decode()) if found else None

    async def _record(self, request: Request) -> RecordedRequest:
        raw = await request.body()
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        record = RecordedRequest(
            method=request.method,
            path=request.url.path,
            query=dict(request.query_params),
            headers=dict(request.headers),
            raw=raw,
            body=body if isinstance(body, dict) else None,
        )
        del self.requests[: len(self.requests) - MAX_RECORDED_REQUESTS + 1]
        self.requests.append(record)
        return record

    async def _nowhere(self, request: Request, _record: RecordedRequest) -> Response:
        raise self.not_found(request)


class Served(Protocol):
    """What can be served: an application, and the path its SDK's base URL ends with."""

    @property
    def app(self) -> ASGIApp: ...

    @property
    def base_path(self) -> str: ...


@asynccontextmanager
async def running(standin: Served, *, port: int = 0) -> AsyncIterator[str]:
    """
    Serves on 127.0.0.1 in this event loop; yields the SDK's base URL.

    Open streams do not delay its end. A defect of the stand-in itself is raised there.
    """
    # Only a socket made for TCP by name gets TCP_NODELAY from asyncio; without it every answer waits 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))

    crashes: list[Exception] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["standin.drop"] = lambda *, reset: _drop(server, scope["client"], reset=reset)
        try:
            await standin.app(scope, receive, send)
        except ClientDisconnect:
            pass  # The client has left in the middle of its request, which is then none.
        except Exception as error:
            crashes.append(error)
            raise

    config = uvicorn.Config(
        app,
        http=HttpToolsProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        # Longer than any client keeps a connection that it does not use: else both may end it at the same moment.
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )
    config.load()
    server = uvicorn.Server(config)
    # Server.serve() would take over the signals and needs up to 0.3 s to stop: these are the parts that are wanted.
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}{standin.base_path}"
    finally:
        for asyncio_server in server.servers:
            asyncio_server.close()
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*server.server_state.tasks, return_exceptions=True)
    if crashes:
        raise ExceptionGroup("the stand-in is broken", crashes)


def _drop(server: uvicorn.Server, client: tuple[str, int], *, reset: bool) -> None:
    for connection in list(server.server_state.connections):
        if isinstance(connection, HttpToolsProtocol) and connection.client == client:
            if reset:
                # No lingering: close() sends RST in place of FIN.
                tcp = connection.transport.get_extra_info("socket")
                tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.transport.abort()


@contextmanager
def running_in_thread(standin: Served, *, port: int = 0) -> Iterator[str]:
    """As `running`, in a loop and a thread of its own: for clients that block their loop, and for plain fixtures."""
    base_urls: list[str] = []
    ready = threading.Event()
    stop = asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with running(standin, port=port) as base_url:
            base_urls.append(base_url)
            ready.set()
            await stop.wait()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
        finally:
            loop.close()
            ready.set()

    thread = threading.Thread(target=run, name=f"standin-{type(standin).__name__}")
    thread.start()
    ready.wait(timeout=PATIENCE_SECONDS)
    try:
        if not base_urls:
            raise RuntimeError("the stand-in did not start")
        yield base_urls[0]
    finally:
        if not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=PATIENCE_SECONDS)
