"""The Notion adapter, with the real SDK against the stand-in: what it reads, and what each failure becomes."""

from __future__ import annotations

import logging
import socket
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from domain.document import Document
from domain.errors import InvalidInput, NotionFailed
from domain.errors import NotionFailureReason as Reason
from domain.notion import ExternalId, NewPage, Notion, NotionParent, NotionParentKind
from domain.secret import Secret
from integrations.notion import NotionAdapter
from tests.standins.notion import NotionStandin
from tests.standins.notion_faults import Fault, FaultKind
from tests.standins.notion_state import Node
from tests.standins.server import running

_NOON = datetime(2026, 7, 4, 12, 0, 30, tzinfo=UTC)
_NOWHERE = "393abc1e-edcd-80f3-813b-e205934558c6"


@dataclass(kw_only=True)
class _World:
    """A served stand-in with one connection, the adapter under test, and a clock that the stand-in goes by."""

    standin: NotionStandin
    notion: Notion
    token: Secret
    now: datetime = _NOON


@pytest.fixture
async def world() -> AsyncIterator[_World]:
    standin = NotionStandin(clock=lambda: made.now)
    token = Secret(standin.add_workspace("Acme").token)
    async with running(standin) as base_url:
        adapter = NotionAdapter(base_url=base_url, timeout_seconds=60)
        try:
            made = _World(standin=standin, notion=adapter, token=token)
            yield made
        finally:
            await adapter.aclose()


# Reading.


async def test_identifies_the_workspace(world: _World) -> None:
    workspace = await world.notion.identify(world.token)
    (known,) = world.standin.memory.workspaces
    assert (workspace.bot_id, workspace.workspace_id, workspace.workspace_name) == (known.bot_id, known.id, "Acme")
    (request,) = world.standin.requests
    assert request.headers["notion-version"] == "2026-03-11"


async def test_rejects_a_wrong_token(world: _World) -> None:
    with pytest.raises(NotionFailed) as caught:
        await world.notion.identify(Secret("ntn_wrong"))
    assert (caught.value.reason, caught.value.retryable, caught.value.ambiguous) == (
        Reason.AUTHENTICATION,
        False,
        False,
    )
    assert caught.value.message == "Notion rejected the token: connect Notion again."


def _links(node: Node, standin: NotionStandin) -> list[str]:
    compact = node.id.replace("-", "")
    return [
        node.id,
        compact.upper(),
        f"  {compact}\n",
        standin.address(node),
        f"https://www.notion.so/{compact}",
        f"https://www.notion.so/acme/A-title-{compact}?pvs=4#393abc1eedcd80f3813be205934558c6",
        f"notion.so/A-title-{compact}",
        f"https://app.notion.com/p/A-title-{compact}",
        f"https://app.notion.com/p/{node.id}",
        f"https://acme.notion.site/A-title-abcdef-{compact}",
        f"notion://www.notion.so/acme/{compact}",
        f"https://www.notion.so/acme/393abc1eedcd80f3813be205934558c6?v=393abc1eedcd80f3813be205934558c7&p={compact}&pm=s",
    ]


async def test_finds_a_page_by_whatever_names_it(world: _World) -> None:
    page = world.standin.add_page("Inbox, 1st")
    for link in _links(page, world.standin):
        assert await world.notion.resolve_parent(world.token, link) == NotionParent(
            kind=NotionParentKind.PAGE,
            id=page.id,
            title="Inbox, 1st",
            title_property="title",
            properties={},
            url=world.standin.address(page),
        )


@pytest.mark.parametrize("which", ["database", "data source"])
async def test_finds_a_data_source_and_its_properties(world: _World, which: str) -> None:
    database = world.standin.add_database("Answers", {"Model": "select", "Question": "title", "Made by": "created_by"})
    source = world.standin.data_source(database)
    reference = world.standin.address(database) if which == "database" else source.id
    assert await world.notion.resolve_parent(world.token, reference) == NotionParent(
        kind=NotionParentKind.DATA_SOURCE,
        id=source.id,
        title="Answers",
        title_property="Question",
        properties={"Model": "select", "Question": "title", "Made by": "created_by"},
        options={"Model": ()},
        url=world.standin.address(database),
    )


async def test_names_the_data_sources_of_a_database_with_several(world: _World) -> None:
    database = world.standin.add_database("Answers")
    second = world.standin.add_data_source(database, "Archive")
    with pytest.raises(InvalidInput) as caught:
        await world.notion.resolve_parent(world.token, database.id)
    assert f"“Answers” ({world.standin.data_source(database).id}), “Archive” ({second.id})" in caught.value.message


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "Inbox",
        "393abc1e-edcd-80f3-813b",
        "https://example.com/393abc1eedcd80f3813be205934558c6",
        "https://notion.so.example.com/393abc1eedcd80f3813be205934558c6",
        "https://www.notion.so/acme/Title",
        "https://acme.notion.site/",
        "javascript://notion.so/393abc1eedcd80f3813be205934558c6",
        "https://[notion.so/393abc1eedcd80f3813be205934558c6",
        "https://www.notion.so/abc393abc1eedcd80f3813be205934558c6",
    ],
)
async def test_refuses_what_names_nothing_in_notion(world: _World, reference: str) -> None:
    with pytest.raises(InvalidInput):
        await world.notion.resolve_parent(world.token, reference)
    assert world.standin.requests == []


async def test_says_when_a_parent_is_not_shared_or_in_the_trash(world: _World) -> None:
    hidden = world.standin.add_page("Hidden", shared=False)
    trashed, database = world.standin.add_page("Gone"), world.standin.add_database("Gone")
    trashed.in_trash = database.in_trash = True
    for reference in (hidden.id, _NOWHERE):
        with pytest.raises(NotionFailed) as caught:
            await world.notion.resolve_parent(world.token, reference)
        assert (caught.value.reason, caught.value.retryable) == (Reason.NOT_SHARED, False)
        assert "••• → Connections" in caught.value.message
    for node in (trashed, database):
        with pytest.raises(InvalidInput, match="trash"):
            await world.notion.resolve_parent(world.token, node.id)


# Finding pages again.


async def test_finds_its_own_pages_under_a_page(world: _World) -> None:
    parent = world.standin.add_page("Inbox")
    add = world.standin.memory.add_page
    (space,) = world.standin.memory.workspaces
    target = await world.notion.resolve_parent(world.token, parent.id)

    def make(title: str, *, by: str = space.bot_id) -> Node:
        values = {"title": [{"type": "text", "plain_text": title}]}
        return add(workspace=space, parent=parent, values=values, by=by)

    world.now = _NOON - timedelta(minutes=1)
    make("Same")
    world.now = _NOON
    for number in range(120):
        make(f"Other {number}")
    mine = make("Same")
    make("Same", by=space.owner_id)
    make("Same").in_trash = True

    found = await world.notion.find_pages(world.token, target, title="Same", created_after=_NOON)

    assert [(page.page_id, page.url, page.is_complete) for page in found] == [
        (mine.id, world.standin.address(mine), False)
    ]
    assert found[0].created_at == _NOON.replace(second=0)


async def test_finds_its_own_pages_in_a_data_source_and_its_trash(world: _World) -> None:
    database = world.standin.add_database("Answers", {"Question": "title"})
    source = world.standin.data_source(database)
    (space,) = world.standin.memory.workspaces
    target = await world.notion.resolve_parent(world.token, source.id)
    made = [world.standin.add_page("Same", parent=source) for _ in range(3)]
    made[0].created_by = made[2].created_by = space.bot_id
    made[2].in_trash = True

    found = await world.notion.find_pages(world.token, target, title="Same", created_after=_NOON)

    assert {page.page_id for page in found} == {made[0].id, made[2].id}
    later = _NOON + timedelta(minutes=1)
    assert await world.notion.find_pages(world.token, target, title="Same", created_after=later) == ()


# Properties.

_PARENT = NotionParent(
    kind=NotionParentKind.DATA_SOURCE,
    id=_NOWHERE,
    title="Answers",
    title_property="Name",
    properties={
        "Name": "title",
        "Note": "rich_text",
        "Score": "number",
        "Read": "checkbox",
        "Kind": "select",
        "State": "status",
        "Tags": "multi_select",
        "When": "date",
        "Link": "url",
        "Mail": "email",
        "Phone": "phone_number",
        "Who": "people",
        "See": "relation",
        "Files": "files",
        "Where": "place",
        "Made": "created_time",
        "Sum": "rollup",
    },
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Colour", "red"),
        ("Name", "A title"),
        ("Made", "2026-07-04"),
        ("Sum", 1),
        ("Note", 1),
        ("Note", "x" * 200_001),
        ("Score", "1"),
        ("Score", True),
        ("Score", float("nan")),
        ("Read", 1),
        ("Kind", ""),
        ("Kind", "a, b"),
        ("Kind", ["a"]),
        ("State", 1),
        ("Tags", "a"),
        ("Tags", ["a", ""]),
        ("Tags", ["a"] * 101),
        ("When", "tomorrow"),
        ("When", {"end": "2026-07-04"}),
        ("When", {"start": "2026-07-04", "zone": "x"}),
        ("When", {"start": "2026-07-04", "time_zone": 1}),
        ("Link", ""),
        ("Link", "x" * 2001),
        ("Mail", 1),
        ("Who", ["nobody"]),
        ("See", ["https://example.com/"]),
        ("See", _NOWHERE),
        ("Files", ["ftp://example.com/a"]),
        ("Where", "London"),
        ("Where", {"lat": 1}),
        ("Where", {"lat": "1", "lon": 2}),
        ("Where", {"lat": 1, "lon": 2, "name": 3}),
    ],
)
async def test_refuses_properties_that_notion_would_refuse(world: _World, name: str, value: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        world.notion.property_values(_PARENT, {"Read": True, name: value})
    assert caught.value.field == (name,)


async def test_options_are_added_or_refused_as_wanted(world: _World) -> None:
    database = world.standin.add_database(
        "Answers",
        {"Name": "title", "Kind": {"select": ["a"]}, "Tags": {"multi_select": ["b"]}, "State": {"status": ["Done"]}},
    )
    parent = await world.notion.resolve_parent(world.token, database.id)
    assert world.notion.property_values(parent, {"Kind": "new", "Tags": ["b", "new"], "State": "Done"})
    assert world.notion.property_values(parent, {"Kind": "a", "Tags": ["b"], "State": "Done"}, may_add_options=False)
    for name, value, may_add in (("State", "new", True), ("Kind", "new", False), ("Tags", ["b", "new"], False)):
        with pytest.raises(InvalidInput) as caught:
            world.notion.property_values(parent, {name: value}, may_add_options=may_add)
        assert caught.value.field == (name,)
        assert "no option “new”" in caught.value.message


async def test_an_external_id_finds_its_page_whatever_became_of_it(world: _World) -> None:
    database = world.standin.add_database("Answers", {"Name": "title", "Id": "rich_text"})
    source = world.standin.data_source(database)
    parent = await world.notion.resolve_parent(world.token, source.id)
    made = [
        await world.notion.create_page(
            world.token, NewPage(parent=parent, title="Same", properties={"Id": id_}, document=Document(()))
        )
        for id_ in ("one", "two")
    ]
    world.standin.page(made[0].page_id).in_trash = True

    async def found(value: str, name: str = "Id", title: str = "Another") -> set[str]:
        pages = await world.notion.find_pages(
            world.token, parent, title=title, created_after=_NOON, external_id=ExternalId(property=name, value=value)
        )
        return {page.page_id for page in pages}

    assert await found("one") == {made[0].page_id}
    assert await found("two") == {made[1].page_id}
    assert await found("three") == set()
    # Without the property there is the title.
    assert await found("one", name="Removed", title="Same") == {each.page_id for each in made}


async def test_a_page_under_a_page_has_no_properties(world: _World) -> None:
    page = world.standin.add_page()
    parent = await world.notion.resolve_parent(world.token, page.id)
    world.notion.property_values(parent, {})
    with pytest.raises(InvalidInput) as caught:
        world.notion.property_values(parent, {"Kind": "a"})
    assert caught.value.field == ("Kind",)


# Failures.

_Use = Callable[[_World], Awaitable[object]]

_READS: dict[FaultKind, tuple[Reason, bool]] = {
    FaultKind.RATE_LIMITED: (Reason.RATE_LIMITED, True),
    FaultKind.BLOCKED: (Reason.RATE_LIMITED, False),
    FaultKind.CONFLICT: (Reason.CONFLICT, True),
    FaultKind.INTERNAL: (Reason.OVERLOADED, True),
    FaultKind.BAD_GATEWAY: (Reason.OVERLOADED, True),
    FaultKind.UNAVAILABLE: (Reason.OVERLOADED, True),
    FaultKind.GATEWAY_TIMEOUT: (Reason.TIMEOUT, True),
    FaultKind.OVERLOADED: (Reason.OVERLOADED, True),
    FaultKind.LOST: (Reason.UNREACHABLE, True),
    FaultKind.TRUNCATED: (Reason.UNREACHABLE, True),
    FaultKind.GARBLED: (Reason.MALFORMED, True),
}


@pytest.mark.parametrize("kind", _READS)
async def test_tells_what_a_failed_read_means(world: _World, kind: FaultKind) -> None:
    world.standin.enqueue(Fault(kind=kind, retry_after_seconds=7))
    with pytest.raises(NotionFailed) as caught:
        await world.notion.identify(world.token)
    failed = caught.value
    assert (failed.reason, failed.retryable) == _READS[kind]
    assert not failed.ambiguous
    is_told = kind in (FaultKind.RATE_LIMITED, FaultKind.OVERLOADED)
    assert failed.retry_after_seconds == (7 if is_told else None)
    # No retries of its own, and the connection serves the next request.
    assert len(world.standin.requests) == 1
    await world.notion.identify(world.token)


async def test_gives_up_when_notion_does_not_answer(world: _World) -> None:
    world.standin.enqueue(Fault(kind=FaultKind.DELAYED, delay_seconds=60))
    async with running(world.standin) as base_url:
        hasty = NotionAdapter(base_url=base_url, timeout_seconds=0.2)
        try:
            with pytest.raises(NotionFailed) as caught:
                await hasty.identify(world.token)
        finally:
            await hasty.aclose()
    assert (caught.value.reason, caught.value.retryable, caught.value.ambiguous) == (Reason.TIMEOUT, True, False)


async def test_says_when_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        adapter = NotionAdapter(base_url=f"http://127.0.0.1:{taken.getsockname()[1]}", timeout_seconds=60)
        try:
            with pytest.raises(NotionFailed) as caught:
                await adapter.identify(Secret("ntn_any"))
        finally:
            await adapter.aclose()
    assert (caught.value.reason, caught.value.retryable, caught.value.ambiguous) == (Reason.UNREACHABLE, True, False)


async def test_says_when_the_integration_may_not(world: _World) -> None:
    (space,) = world.standin.memory.workspaces
    space.can_read = False
    with pytest.raises(NotionFailed) as caught:
        await world.notion.identify(world.token)
    assert (caught.value.reason, caught.value.retryable) == (Reason.RESTRICTED, False)


async def test_shows_no_token_in_logs_or_tracebacks(world: _World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for kind in _READS:
            world.standin.enqueue(Fault(kind=kind))
            with pytest.raises(NotionFailed) as caught:
                await world.notion.identify(world.token)
            shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
            assert world.token.reveal() not in shown
    assert world.token.reveal() not in caplog.text
