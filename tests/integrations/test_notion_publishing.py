"""Writing a page to Notion, with the real SDK against the stand-in: complete, once, and in order whatever fails."""

from __future__ import annotations

import logging
import traceback
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import pytest

from domain.document import (
    Block,
    Callout,
    Code,
    Divider,
    Document,
    Equation,
    Image,
    InlineEquation,
    Mark,
    Prose,
    ProseKind,
    RichText,
    Table,
    Text,
    ToDo,
)
from domain.errors import NotionFailed
from domain.errors import NotionFailureReason as Reason
from domain.notion import WRITABLE_PROPERTY_TYPES, CreatedPage, NewPage
from domain.notion_base import SyncedBlock
from integrations.notion import NotionAdapter
from integrations.notion_hashes import shown_hash
from tests.integrations.notion_connected import Connected, connected
from tests.standins.notion_errors import JSON
from tests.standins.notion_faults import Fault, FaultKind
from tests.standins.server import running

_SINCE = datetime(2026, 7, 4, tzinfo=UTC)
_APPEND = "/v1/blocks/*/children"


class _World(Connected):
    async def publish(self, document: Document) -> CreatedPage:
        """Creates and completes a page."""
        created = await self.create(document)
        if not created.is_complete:
            await self.notion.complete_page(self.token, created.page_id, document)
        return created

    def outline(self, page_id: str) -> list[object]:
        return [_outlined(block) for block in self.standin.children_tree(page_id)]

    def writes(self) -> int:
        return sum(request.method != "GET" for request in self.standin.requests)


@pytest.fixture
async def world() -> AsyncIterator[_World]:
    async with connected(_World) as world:
        yield world


# What is expected of a page: type, text, and what is inside, with the pieces of one text put together again.


def _outlined(block: JSON) -> object:
    kind = block["type"]
    content = block[kind]
    if kind == "table_row":
        return [_words(cell) for cell in content["cells"]]
    words = _words(content["rich_text"]) if "rich_text" in content else content.get("expression", "")
    return (kind, words, [_outlined(child) for child in content.get("children", [])])


def _words(items: list[JSON]) -> str:
    return "".join(item["plain_text"] for item in items)


def _said(runs: RichText) -> str:
    return "".join(run.content if isinstance(run, Text) else run.expression for run in runs)


def _expected(block: Block) -> object:
    match block:
        case Prose(kind, text, children):
            return (str(kind), _said(text), [_expected(child) for child in children])
        case ToDo(text, children=children):
            return ("to_do", _said(text), [_expected(child) for child in children])
        case Callout(text, children=children):
            return ("callout", _said(text), [_expected(child) for child in children])
        case Table(rows):
            return ("table", "", [[_said(cell) for cell in row] for row in rows])
        case Code(content):
            return ("code", content, [])
        case Equation(expression):
            return ("equation", expression, [])
        case Image():
            return ("image", "", [])
        case Divider():
            return ("divider", "", [])


def _expected_outline(document: Document) -> list[object]:
    return [_expected(block) for block in document.blocks]


def _p(words: str, *children: Block) -> Prose:
    return Prose(ProseKind.PARAGRAPH, (Text(words),), children)


def _li(words: str, *children: Block) -> Prose:
    return Prose(ProseKind.BULLETED_LIST_ITEM, (Text(words),), children)


def _cell(words: str) -> RichText:
    return (Text(words),) if words else ()


_SMALL = Document(
    (
        Prose(ProseKind.HEADING_1, (Text("Title "), Text("bold", frozenset({Mark.BOLD})))),
        _p("😀 plain"),
        Prose(ProseKind.PARAGRAPH, (Text("see ", link=None), Text("this", link="https://example.com/"))),
        Prose(ProseKind.HEADING_4, (InlineEquation("x^2"),)),
        _li("one", _li("two", _li("three"))),
        ToDo((Text("done"),), checked=True),
        Callout((Text("note"),), icon="💡", color="green_background", children=(_p("inside"),)),
        Code("print(1)\n", "python"),
        Equation("e = mc^2"),
        Table(((_cell("a"), _cell("b")), (_cell(""), _cell("d")))),
        Image("https://example.com/a.png", (Text("caption"),)),
        Divider(),
    )
)


def _deep(depth: int) -> Prose:
    return _li(f"level {depth}", *([_deep(depth - 1), _li(f"beside {depth}")] if depth else []))


def _rows(count: int) -> Table:
    return Table(tuple((_cell(f"row {number}"), _cell("😀")) for number in range(count)))


# More than a request holds in each way: levels, siblings, rows, a hundred children on every level.
_LARGE = Document(
    (
        *(_p(f"paragraph {number}") for number in range(130)),
        _deep(7),
        _rows(230),
        _li("many", *(_li(f"child {number}", _li(f"grandchild {number}")) for number in range(120))),
        *(_p(f"after {number}") for number in range(110)),
        _li("end", Table(tuple((_cell(f"inner {number}"),) for number in range(150)))),
    )
)


async def test_makes_a_small_page_in_one_request(world: _World) -> None:
    before = len(world.standin.requests)
    created = await world.create(_SMALL, title="What & why? 😀")
    assert len(world.standin.requests) == before + 1
    assert created.is_complete
    (page,) = world.standin.pages_under(world.inbox)
    assert (created.page_id, created.url) == (page.id, world.standin.address(page))
    assert created.created_at == page.created_at.replace(second=0, microsecond=0)
    assert page.words == "What & why? 😀"
    assert world.outline(page.id) == _expected_outline(_SMALL)


async def test_makes_an_empty_page(world: _World) -> None:
    created = await world.create(Document(()))
    assert created.is_complete
    assert world.outline(created.page_id) == []


async def test_makes_a_large_page_in_as_many_requests_as_the_limits_need(world: _World) -> None:
    created = await world.publish(_LARGE)
    assert not created.is_complete
    assert world.outline(created.page_id) == _expected_outline(_LARGE)
    writes = world.writes()
    await world.notion.complete_page(world.token, created.page_id, _LARGE)
    assert world.outline(created.page_id) == _expected_outline(_LARGE)
    assert world.writes() == writes


async def test_sets_properties_in_a_data_source(world: _World) -> None:
    kinds: dict[str, str | JSON] = {
        "Question": "title",
        "Note": "rich_text",
        "Score": "number",
        "Read": "checkbox",
        "Kind": {"select": ["a"]},
        "State": {"status": ["Done"]},
        "Tags": "multi_select",
        "When": "date",
        "Until": "date",
        "Link": "url",
        "Mail": "email",
        "Phone": "phone_number",
        "Who": "people",
        "See": "relation",
        "Files": "files",
        "Where": "place",
        "Empty": "number",
    }
    database = world.standin.add_database("Answers", kinds)
    owner = world.inbox.workspace.owner_id
    world.parent = await world.notion.resolve_parent(world.token, world.standin.address(database))
    said: dict[str, object] = {
        "Note": "😀" * 1500,
        "Score": 1.5,
        "Read": True,
        "Kind": "new",
        "State": "Done",
        "Tags": ["one", "two"],
        "When": "2026-07-04",
        "Until": {"start": "2026-07-04T09:00:00Z", "end": "2026-07-04T10:00:00Z"},
        "Link": "https://example.com/",
        "Mail": "a@example.com",
        "Phone": "+1 555 0100",
        "Who": [owner],
        "See": [world.standin.address(world.inbox)],
        "Files": ["https://example.com/a.pdf"],
        "Where": {"lat": 51.48, "lon": 0, "name": "Greenwich"},
        "Empty": None,
    }
    assert set(kinds) - {"Question"} == set(said)
    assert {str(*kind) if isinstance(kind, dict) else kind for kind in kinds.values()} == WRITABLE_PROPERTY_TYPES
    world.notion.property_values(world.parent, said)

    created = await world.create(_SMALL, title="A row", **said)

    page = world.standin.page(created.page_id)
    values = {name: page.properties[definition["id"]] for name, definition in page.schema.items()}
    assert page.words == "A row"
    assert (_words(values["Note"]), values["Score"], values["Read"]) == ("😀" * 1500, 1.5, True)
    assert (values["Kind"]["name"], values["State"]["name"]) == ("new", "Done")
    assert [option["name"] for option in values["Tags"]] == ["one", "two"]
    assert (values["When"]["start"], values["Until"]["end"]) == ("2026-07-04", "2026-07-04T10:00:00Z")
    assert (values["Link"], values["Mail"], values["Phone"]) == ("https://example.com/", "a@example.com", "+1 555 0100")
    assert (values["Who"][0]["id"], values["See"], values["Empty"]) == (owner, [{"id": world.inbox.id}], None)
    assert values["Where"] == {"lat": 51.48, "lon": 0, "name": "Greenwich"}
    assert values["Files"][0]["external"]["url"] == "https://example.com/a.pdf"
    assert world.outline(page.id) == _expected_outline(_SMALL)


async def test_sends_the_content_after_properties_that_fill_a_request(world: _World) -> None:
    database = world.standin.add_database("Answers", {"Name": "title", **{f"Note {n}": "rich_text" for n in range(3)}})
    world.parent = await world.notion.resolve_parent(world.token, database.id)
    document = Document(tuple(_p("x" * 100_000) for _ in range(5)))
    created = await world.create(document, **{f"Note {n}": "y" * 100_000 for n in range(3)})
    assert not created.is_complete
    await world.notion.complete_page(world.token, created.page_id, document)
    assert world.outline(created.page_id) == _expected_outline(document)


# Failures.

_EXPECTED: dict[FaultKind, tuple[Reason, bool, bool]] = {
    # reason, retryable, ambiguous
    FaultKind.RATE_LIMITED: (Reason.RATE_LIMITED, True, False),
    FaultKind.BLOCKED: (Reason.RATE_LIMITED, False, False),
    FaultKind.CONFLICT: (Reason.CONFLICT, True, False),
    FaultKind.INTERNAL: (Reason.OVERLOADED, True, True),
    FaultKind.BAD_GATEWAY: (Reason.OVERLOADED, True, True),
    FaultKind.UNAVAILABLE: (Reason.OVERLOADED, True, True),
    FaultKind.GATEWAY_TIMEOUT: (Reason.TIMEOUT, True, True),
    FaultKind.OVERLOADED: (Reason.OVERLOADED, True, False),
    FaultKind.LOST: (Reason.UNREACHABLE, True, True),
    FaultKind.TRUNCATED: (Reason.UNREACHABLE, True, True),
    FaultKind.GARBLED: (Reason.MALFORMED, True, True),
}
# Those that say that nothing was done, which is then so.
_REFUSALS = (FaultKind.RATE_LIMITED, FaultKind.BLOCKED, FaultKind.CONFLICT, FaultKind.OVERLOADED)


@pytest.mark.parametrize(
    ("kind", "applied"),
    [(kind, False) for kind in _EXPECTED] + [(kind, True) for kind in _EXPECTED if kind not in _REFUSALS],
)
async def test_tells_what_a_failed_creation_means(world: _World, kind: FaultKind, applied: bool) -> None:
    fault = Fault(kind=kind, path="/v1/pages", applied=applied, names_committed=False, retry_after_seconds=7)
    world.standin.enqueue(fault)
    with pytest.raises(NotionFailed) as caught:
        await world.create(_SMALL)
    failed = caught.value
    assert (failed.reason, failed.retryable, failed.ambiguous) == _EXPECTED[kind]
    assert failed.committed_ids == ()
    found = await world.notion.find_pages(world.token, world.parent, title="An answer", created_after=_SINCE)
    assert [page.page_id for page in found] == [page.id for page in world.standin.pages_under(world.inbox)]
    assert len(found) == int(applied)


async def test_gives_up_on_a_creation_that_takes_too_long(world: _World) -> None:
    world.standin.enqueue(Fault(kind=FaultKind.DELAYED, path="/v1/pages", applied=True, delay_seconds=60))
    async with running(world.standin) as base_url:
        hasty = NotionAdapter(base_url=base_url, timeout_seconds=0.5)
        try:
            page = NewPage(parent=world.parent, title="An answer", properties={}, document=_SMALL)
            with pytest.raises(NotionFailed) as caught:
                await hasty.create_page(world.token, page)
        finally:
            await hasty.aclose()
    assert (caught.value.reason, caught.value.retryable, caught.value.ambiguous) == (Reason.TIMEOUT, True, True)


async def test_takes_the_page_that_a_failed_creation_names(world: _World) -> None:
    world.standin.enqueue(Fault(kind=FaultKind.UNAVAILABLE, path="/v1/pages", applied=True))
    created = await world.create(_SMALL)
    assert not created.is_complete
    await world.notion.complete_page(world.token, created.page_id, _SMALL)
    (page,) = world.standin.pages_under(world.inbox)
    assert (created.page_id, created.url) == (page.id, world.standin.address(page))
    assert world.outline(page.id) == _expected_outline(_SMALL)


async def test_hands_on_the_name_of_a_page_that_cannot_be_read(world: _World) -> None:
    world.standin.enqueue(
        Fault(kind=FaultKind.UNAVAILABLE, path="/v1/pages", applied=True),
        Fault(kind=FaultKind.INTERNAL, method="GET", path="/v1/pages/*"),
    )
    with pytest.raises(NotionFailed) as caught:
        await world.create(_SMALL)
    (page,) = world.standin.pages_under(world.inbox)
    assert caught.value.ambiguous
    assert caught.value.committed_ids == (page.id,)


async def test_goes_on_with_the_blocks_that_a_failed_append_names(world: _World) -> None:
    created = await world.create(_LARGE)
    world.standin.enqueue(*[Fault(kind=FaultKind.UNAVAILABLE, path=_APPEND, method="PATCH", applied=True)] * 3)
    await world.notion.complete_page(world.token, created.page_id, _LARGE)
    assert world.standin.waiting_faults == ()
    assert world.outline(created.page_id) == _expected_outline(_LARGE)


@pytest.mark.parametrize("applied", [False, True])
async def test_completes_a_page_from_wherever_it_was_cut_short(world: _World, applied: bool) -> None:
    # Several requests of every sort: siblings, depths, rows.
    document = Document((*(_p(f"paragraph {n}") for n in range(101)), _deep(7), _rows(120)))
    first, before = await world.create(document), world.writes()
    await world.notion.complete_page(world.token, first.page_id, document)
    requests = world.writes() - before
    assert requests >= 4
    for passed in range(requests):
        created = await world.create(document)
        world.standin.enqueue(Fault(kind=FaultKind.LOST, method="PATCH", path=_APPEND, skip=passed, applied=applied))
        with pytest.raises(NotionFailed) as caught:
            await world.notion.complete_page(world.token, created.page_id, document)
        assert (caught.value.reason, caught.value.ambiguous) == (Reason.UNREACHABLE, True)
        await world.notion.complete_page(world.token, created.page_id, document)
        assert world.outline(created.page_id) == _expected_outline(document)


@pytest.mark.parametrize("seed", range(4))
async def test_makes_one_whole_page_through_any_weather(world: _World, seed: int) -> None:
    kinds = (FaultKind.LOST, FaultKind.INTERNAL, FaultKind.BAD_GATEWAY, FaultKind.UNAVAILABLE, FaultKind.GARBLED)
    world.standin.draw_faults(
        *((0.02, Fault(kind=kind, applied=True, names_committed=seed % 2 == 0)) for kind in kinds),
        *((0.02, Fault(kind=kind)) for kind in (*kinds, FaultKind.CONFLICT, FaultKind.RATE_LIMITED)),
        seed=seed,
    )
    created = await _insist_on_a_page(world)
    for _ in range(200):
        try:
            await world.notion.complete_page(world.token, created.page_id, _LARGE)
        except NotionFailed as error:
            if not error.retryable:
                raise
            continue
        break
    else:
        raise AssertionError("the weather never cleared")
    (page,) = world.standin.pages_under(world.inbox)
    assert page.id == created.page_id
    assert world.outline(page.id) == _expected_outline(_LARGE)


async def _insist_on_a_page(world: _World) -> CreatedPage:
    """As the publisher does: looks before it repeats what may have taken effect."""
    is_ambiguous = False
    for _ in range(200):
        try:
            if is_ambiguous:
                found = await world.notion.find_pages(
                    world.token, world.parent, title="An answer", created_after=_SINCE
                )
                if found:
                    return found[0]
                is_ambiguous = False
            return await world.create(_LARGE)
        except NotionFailed as error:
            if not error.retryable:
                raise
            is_ambiguous = is_ambiguous or error.ambiguous
    raise AssertionError("the weather never cleared")


# People work in the page meanwhile.


async def test_leaves_alone_what_somebody_else_has_added(world: _World) -> None:
    created = await world.create(_LARGE)
    page = world.standin.page(created.page_id)
    owner = world.inbox.workspace.owner_id
    foreign = world.standin.memory.add_blocks(
        page, [{"paragraph": {"rich_text": [{"text": {"content": "mine"}}]}}], by=owner
    )
    world.standin.add_page("A page of somebody's", parent=page)
    await world.notion.complete_page(world.token, page.id, _LARGE)
    await world.notion.complete_page(world.token, page.id, _LARGE)
    tree = world.standin.children_tree(page.id)
    assert [block["id"] for block in tree[-2:]] == [foreign[0].id, page.children[-1].id]
    assert [_outlined(block) for block in tree[:-2]] == _expected_outline(_LARGE)


async def test_stops_when_it_cannot_tell_where_the_rest_belongs(world: _World) -> None:
    created = await world.create(_LARGE)
    page = world.standin.page(created.page_id)
    world.standin.enqueue(Fault(kind=FaultKind.LOST, method="PATCH", path=_APPEND))
    document = Document((_p("first"), _deep(7), *_LARGE.blocks))
    with pytest.raises(NotionFailed) as caught:
        await world.notion.complete_page(world.token, page.id, document)
    with pytest.raises(NotionFailed) as caught:
        await world.notion.complete_page(world.token, page.id, document)
    assert (caught.value.reason, caught.value.retryable) == (Reason.CONFLICT, False)


async def test_says_when_the_page_is_in_the_trash_or_gone(world: _World) -> None:
    created = await world.create(_LARGE)
    page = world.standin.page(created.page_id)
    page.in_trash = True
    with pytest.raises(NotionFailed, match="trash") as caught:
        await world.notion.complete_page(world.token, created.page_id, _LARGE)
    assert (caught.value.reason, caught.value.retryable) == (Reason.REJECTED, False)
    world.inbox.shared = False
    with pytest.raises(NotionFailed) as caught:
        await world.notion.complete_page(world.token, created.page_id, _LARGE)
    assert (caught.value.reason, caught.value.retryable) == (Reason.NOT_SHARED, False)


async def test_says_when_the_data_source_has_changed(world: _World) -> None:
    database = world.standin.add_database("Answers", {"Name": "title", "Kind": "select", "Score": "number"})
    source = world.standin.data_source(database)
    world.parent = await world.notion.resolve_parent(world.token, database.id)
    del source.properties["Kind"]
    source.properties["Score"] |= {"type": "rich_text", "rich_text": {}}
    with pytest.raises(NotionFailed) as caught:
        await world.create(_SMALL, Kind="a", Score=1)
    assert (caught.value.reason, caught.value.retryable, caught.value.ambiguous) == (Reason.REJECTED, False, False)
    assert "“Kind” is missing, “Score” is of type rich_text now" in caught.value.message
    world.standin.add_data_source(database, "Second")
    source.in_trash = True
    with pytest.raises(NotionFailed):
        await world.create(_SMALL)
    assert world.standin.pages_under(source) == []


async def test_does_not_send_half_a_character(world: _World) -> None:
    before = len(world.standin.requests)
    with pytest.raises(NotionFailed) as caught:
        await world.create(Document((_p("half: \ud83d"),)))
    assert (caught.value.reason, caught.value.retryable, caught.value.ambiguous) == (Reason.REJECTED, False, False)
    assert len(world.standin.requests) == before


async def test_quotes_nothing_of_the_page_when_notion_rejects_it(
    world: _World, caplog: pytest.LogCaptureFixture
) -> None:
    private = "-".join(["a", "private", "word"])
    with caplog.at_level(logging.DEBUG), pytest.raises(NotionFailed) as caught:
        await world.create(Document((_p(private), Code(private, private))))
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert (caught.value.reason, caught.value.retryable, caught.value.ambiguous) == (Reason.REJECTED, False, False)
    assert caught.value.message == "Notion rejected the content: children[1].code.language should be " + (
        '"abap", "abc", ... or "java/c/c++/c#".'
    )
    assert private in world.standin.requests[-1].raw.decode()
    assert private not in shown + caplog.text
    assert world.token.reveal() not in shown + caplog.text


async def test_tells_the_blocks_of_a_complete_page(world: _World) -> None:
    created = await world.create(_LARGE)
    blocks = await world.notion.complete_page(world.token, created.page_id, _LARGE)
    tree = world.standin.children_tree(created.page_id)
    assert [block.id for block in blocks] == [block["id"] for block in tree]
    assert [block.shown for block in blocks] == [shown_hash(block) for block in tree]
    _check_base(blocks, tree)
    _check_base(await world.notion.complete_page(world.token, created.page_id, _LARGE), tree)


def _check_base(blocks: Sequence[SyncedBlock], tree: Sequence[JSON]) -> None:
    """Ids may be missing only where a block came along with its parent."""
    assert len(blocks) == len(tree)
    for block, shown in zip(blocks, tree, strict=True):
        assert block.id in ("", shown["id"])
        assert block.said == block.shown == shown_hash(shown)
        _check_base(block.children, shown[shown["type"]].get("children", ()))
