"""The foreign systems around a cluster, in a thread of the rig: they outlive every instance, and see each come."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.faults.writer import Writer
from tests.standins.notion import NotionStandin
from tests.standins.server import running

_START_SECONDS = 60

Tap = Callable[[str, str], None]  # with an instance's name and one of the moments below


class Moment:
    """When a tap is told."""

    ARRIVED = "a request has arrived as a whole, and will take effect"
    ANSWERED = "a request has taken effect, and its answer is about to leave"


@dataclass(slots=True, kw_only=True)
class Outside:
    """OpenAI and Notion. Each instance has addresses of its own, so that one can tell whose request it is."""

    writer: Writer = field(default_factory=Writer)
    notion: NotionStandin = field(default_factory=NotionStandin)
    variables: dict[str, dict[str, str]] = field(default_factory=dict)
    tap: Tap | None = None

    def tapped(self, instance: str, moment: str) -> None:
        """Tells whoever listens."""
        if (tap := self.tap) is not None:
            tap(instance, moment)


@dataclass(frozen=True, slots=True)
class _Tapped:
    """A stand-in as one instance sees it."""

    standin: Writer | NotionStandin
    instance: str
    outside: Outside

    @property
    def base_path(self) -> str:
        return self.standin.base_path

    @property
    def app(self) -> ASGIApp:
        return self._serve

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            if message["type"] == "http.response.start" or message.get("more_body"):
                self.outside.tapped(self.instance, Moment.ANSWERED)
            await send(message)

        async def heard() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body"):
                self.outside.tapped(self.instance, Moment.ARRIVED)
            return message

        # Killed in the middle of its request, which is then none.
        with suppress(ClientDisconnect):
            await self.standin.app(scope, heard, told)


@contextmanager
def outside(instances: Sequence[str]) -> Iterator[Outside]:
    """Serves the stand-ins for instances of these names; `variables` are what leads each of them there."""
    world = Outside()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    is_up = threading.Event()
    faults: list[BaseException] = []

    async def serve() -> None:
        async with AsyncExitStack() as stack:
            for name in instances:
                world.variables[name] = {
                    "OPENAI_BASE_URL": await stack.enter_async_context(running(_Tapped(world.writer, name, world))),
                    "NOTION_BASE_URL": await stack.enter_async_context(running(_Tapped(world.notion, name, world))),
                }
            is_up.set()
            await stop.wait()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
        except BaseException as error:  # noqa: BLE001  (raised again where somebody sees it)
            faults.append(error)
        finally:
            loop.close()
            is_up.set()

    thread = threading.Thread(target=run, name="outside")
    thread.start()
    try:
        assert is_up.wait(_START_SECONDS)
        yield world
    finally:
        world.tap = None
        if not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)
        thread.join(_START_SECONDS)
    for fault in faults:
        raise fault
