"""The product as its own process runs it, with a stand-in for every foreign system, and ways to watch it."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from composition import assistant
from ops.config import Config
from ops.encryption_key import EncryptionKey
from ops.lifecycle import Lifecycle, serve
from ops.listening import listen, port_of
from tests.api.product import Person, Product
from tests.api.unlimited import UNLIMITED
from tests.standins.anthropic import AnthropicStandin
from tests.standins.deepseek import DeepSeekStandin
from tests.standins.notion import NotionStandin
from tests.standins.openai import OpenAIStandin
from tests.standins.scenario import Gate
from tests.standins.server import Served
from tests.standins.server import running as serving_standin
from tests.waiting import until

TOKENS_PER_SECOND = 2_000.0  # the demo writes as fast as a test can read
# Five seconds are kept for storing, so nothing is waited for: a run that a test leaves behind is interrupted at once.
DRAIN_TIMEOUT_SECONDS = 5
_PIECES = 10
_NO_SETTINGS: Mapping[str, object] = {}

GENERATE = """
mutation Generate($input: GenerateContentInput!) {
  generateContent(input: $input) {
    generation { id status publication { id status } }
    errors { code message field reason }
  }
}
"""
WATCH = """
subscription Watch($id: ID!, $after: String) {
  generationEvents(id: $id, after: $after) {
    __typename
    ... on Positioned { cursor }
    ... on GenerationText { text }
    ... on GenerationReasoning { text }
    ... on GenerationRestarted { reason }
    ... on PublicationChanged { publication { id status page { url } error { code reason } } }
    ... on GenerationFinished { generation { id status content } }
  }
}
"""
STORED = """
query Stored($id: ID!) {
  generation(id: $id) {
    id status prompt content reasoning finishReason cost
    provider { id }
    model { id }
    usage { inputTokens cachedInputTokens outputTokens reasoningTokens }
    error { code message field reason retryAfterSeconds }
    publication { id status attempts degraded page { pageId parentId title url state } error { code message reason } }
  }
}
"""
CANCEL = """
mutation Cancel($input: IdInput!) {
  cancelGeneration(input: $input) { generation { id status } errors { code message field } }
}
"""
CONNECT = """
mutation Connect($input: ConnectNotionInput!) {
  connectNotion(input: $input) { notion { workspaceName } errors { code message field reason } }
}
"""
PUBLISH = """
mutation Publish($input: PublishInput!) {
  publishToNotion(input: $input) { publication { id status } errors { code message field reason } }
}
"""

Event = dict[str, Any]  # parsed JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """The foreign systems, and where each is."""

    openai: OpenAIStandin = field(default_factory=OpenAIStandin)
    anthropic: AnthropicStandin = field(default_factory=AnthropicStandin)
    deepseek: DeepSeekStandin = field(default_factory=DeepSeekStandin)
    notion: NotionStandin = field(default_factory=NotionStandin)
    addresses: dict[str, str] = field(default_factory=dict)


@asynccontextmanager
async def outside() -> AsyncIterator[Outside]:
    """The stand-ins, served; `addresses` are the variables of the configuration that lead to them."""
    world = Outside()
    standins: dict[str, Served] = {
        "openai": world.openai,
        "anthropic": world.anthropic,
        "deepseek": world.deepseek,
        "notion": world.notion,
    }
    async with AsyncExitStack() as stack:
        for name, standin in standins.items():
            world.addresses[f"{name}_base_url"] = await stack.enter_async_context(serving_standin(standin))
        yield world


@asynccontextmanager
async def at_work(
    database_url: str,
    world: Outside | None = None,
    settings: Mapping[str, object] = _NO_SETTINGS,
    *,
    keys: Sequence[EncryptionKey] = (),
    tokens_per_second: float = TOKENS_PER_SECOND,
) -> AsyncIterator[Product]:
    """Starts the product with these settings, serves it as its process does, and stops it as a signal does."""
    addresses = {} if world is None else world.addresses
    config = Config.model_validate(
        {"drain_timeout_seconds": DRAIN_TIMEOUT_SECONDS, **UNLIMITED, **addresses, **settings}
    )
    lifecycle = Lifecycle()
    is_serving = asyncio.Event()
    async with AsyncExitStack() as stack:
        stack.enter_context(_unwrapping())
        sockets = listen("127.0.0.1", 0)
        for each in sockets:
            stack.callback(each.close)
        product = await stack.enter_async_context(
            assistant(
                config,
                database_url=database_url,
                keys=keys or [EncryptionKey.generate()],
                lifecycle=lifecycle,
                demo_tokens_per_second=tokens_per_second,
            )
        )
        group = await stack.enter_async_context(asyncio.TaskGroup())
        group.create_task(
            serve(
                product.app,
                lifecycle=lifecycle,
                sockets=sockets,
                on_serving=is_serving.set,
                on_drain=product.drain,
                drain_timeout_seconds=config.drain_timeout_seconds,
                trusted_proxies=config.trusted_proxies,
            )
        )
        await is_serving.wait()
        try:
            async with AsyncExitStack() as clients:
                yield Product(address=f"127.0.0.1:{port_of(sockets)}", assistant=product, stack=clients)
        finally:
            lifecycle.request_stop()


@contextmanager
def _unwrapping() -> Iterator[None]:
    """A single failure as it was raised: of what task groups wrap, pytest shows less."""
    try:
        yield
    except BaseExceptionGroup as group:
        failure: BaseException = group
        while isinstance(failure, BaseExceptionGroup) and len(failure.exceptions) == 1:
            failure = failure.exceptions[0]
        raise failure from None


async def start(person: Person, prompt: str = "Write something.", **input_: object) -> str:
    """The id of a generation that was started and may still be running."""
    payload = await person.do(GENERATE, input={"prompt": prompt, **input_})
    return str(payload["generation"]["id"])


async def stored(person: Person, generation_id: str) -> dict[str, Any]:
    """A generation as it is kept."""
    return dict((await person.ask(STORED, id=generation_id))["generation"])


async def over_websocket(person: Person, generation_id: str, after: str | None = None) -> list[Event]:
    """Its events from the cursor to the end."""
    events: list[Event] = []
    async with person.socket() as ws:
        await ws.subscribe("1", WATCH, variables={"id": generation_id, "after": after})
        while (message := await ws.receive())["type"] == "next":
            events.append(event_of(message["payload"]))
        assert message == {"id": "1", "type": "complete"}
    return events


async def until_text(person: Person, generation_id: str) -> list[Event]:
    """Its events up to the first that brings text; nobody watches any more then."""
    events: list[Event] = []
    async with person.socket() as ws:
        await ws.subscribe("1", WATCH, variables={"id": generation_id})
        while not events or events[-1]["__typename"] != "GenerationText":
            events.append(event_of((await ws.receive())["payload"]))
    return events


async def over_sse(person: Person, generation_id: str, after: str | None = None) -> list[Event]:
    """The same over Server-Sent Events."""
    return [event_of(result) for result in await person.events(WATCH, id=generation_id, after=after)]


async def when_watched(running: Product, count: int, gate: Gate, person: Person) -> None:
    """Lets the pieces of a person's only answer come one by one, each when the last was seen, once so many watch it."""
    await until(lambda: running.assistant.feed.watch_count >= count)
    (node,) = (await person.ask("{ viewer { history { nodes { id } } } }"))["viewer"]["history"]["nodes"]
    async with person.socket() as ws:
        await ws.subscribe("1", WATCH, variables={"id": node["id"]})
        for _ in range(_PIECES):
            gate.open(1)
            while event_of((await ws.receive())["payload"])["__typename"] != "GenerationText":
                pass
    gate.open()


def event_of(result: Any) -> Event:
    """The event in one of the subscription's results."""
    assert "errors" not in result, result["errors"]
    return dict(result["data"]["generationEvents"])


def text_of(events: Sequence[Event], typename: str = "GenerationText") -> str:
    """What the events of one kind write, all together."""
    return "".join(each["text"] for each in events if each["__typename"] == typename)


def kinds_of(events: Sequence[Event]) -> list[str]:
    """The kinds of the events in their order, those that repeat said once."""
    names = [each["__typename"] for each in events]
    return [name for place, name in enumerate(names) if place == 0 or names[place - 1] != name]


async def everything_in(database_url: str) -> dict[str, list[str]]:
    """Every row of every table, so that a test can tell that nothing has changed.

    Not when Notion was last asked, and not which periodic jobs were done: those come by the clock, whatever is asked.
    """
    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    try:
        tables = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' "
            "AND tablename NOT IN ('notion_paces', 'periodic_slots')"
        )
        found: dict[str, list[str]] = {table: [] for (table,) in tables}
        # All of one moment, and in one go: some tests look hundreds of times.
        each = [f"SELECT '{table}', t::text FROM \"{table}\" t" for table in found]
        for table, row in await connection.fetch(f"{' UNION ALL '.join(each)} ORDER BY 1, 2"):
            found[table].append(row)
        return found
    finally:
        await connection.close()
