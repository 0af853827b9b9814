"""Bringing a page up to date, with the real SDK against the stand-in: only what differs is touched, whatever fails."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from domain.document import Document
from domain.errors import NotionFailed
from domain.notion import PageUpdate
from domain.notion_base import PageChanged, Place, SyncedBlock, block_ids
from integrations.markdown import parse
from integrations.notion_blocks import NotionBlock, to_notion
from integrations.notion_hashes import said_hash, shown_hash
from tests.integrations.notion_connected import Connected, connected
from tests.standins.notion_content import plain_text
from tests.standins.notion_errors import JSON
from tests.standins.notion_faults import Fault, FaultKind
from tests.standins.notion_state import Node

OLD = """# Title

First paragraph.

Second paragraph.

- one
  - inside one
- two
- three

| a | b |
| - | - |
| 1 | 2 |
| 3 | 4 |

---

```py
print(1)
```

Last paragraph.
"""

Shape = tuple[str, tuple["Shape", ...]]


@dataclass(kw_only=True)
class _World(Connected):
    page: Node = field(init=False)
    base: tuple[SyncedBlock, ...] = ()

    async def update(
        self, text: str, *, overwrites: bool = False, place: Place | None = None, superseded: Sequence[str] = ()
    ) -> None:
        update = PageUpdate(
            document=parse(text),
            base=self.base,
            place=place or _recent(),
            overwrites=overwrites,
            superseded=list(map(parse, superseded)),
        )
        self.base = await self.notion.update_page(self.token, self.page.id, update)

    async def insist(self, text: str, *, tries: int = 300) -> None:
        for _ in range(tries):
            try:
                await self.update(text)
            except NotionFailed as failed:
                if not failed.retryable:
                    raise
                continue
            return
        raise AssertionError("the weather never cleared")

    def tree(self) -> list[JSON]:
        return self.standin.children_tree(self.page.id)

    def writes(self) -> list[tuple[str, str]]:
        return [(each.method, each.path) for each in self.standin.requests if each.method in ("PATCH", "DELETE")]

    def check(self, text: str, *, foreign: Sequence[str] = ()) -> None:
        """The page says this and nothing else of ours; the base knows it."""
        tree = [block for block in self.tree() if block["id"] not in foreign]
        assert _shown(tree) == _said(to_notion(parse(text)))
        assert [block.id for block in self.base] == [block["id"] for block in tree]


def _recent() -> Place:
    return Place(since=datetime.now(UTC) - timedelta(minutes=5))


def _said(blocks: Sequence[NotionBlock]) -> list[Shape]:
    return [(said_hash(block), tuple(_said(block.children))) for block in blocks]


def _shown(blocks: Sequence[JSON]) -> list[Shape]:
    return [(shown_hash(block), tuple(_shown(block[block["type"]].get("children", ())))) for block in blocks]


def _paragraph(words: str) -> JSON:
    return {"type": "paragraph", "paragraph": {"rich_text": [{"type": "text", "text": {"content": words}}]}}


@pytest.fixture
async def world() -> AsyncIterator[_World]:
    async with connected(_World) as world:
        await _publish(world, parse(OLD))
        yield world


async def _publish(world: _World, document: Document) -> None:
    created = await world.create(document)
    world.page = world.standin.page(created.page_id)
    world.base = await world.notion.complete_page(world.token, created.page_id, document)
    world.standin.requests.clear()


async def test_what_did_not_change_is_not_touched(world: _World) -> None:
    before = world.tree()
    await world.update(OLD)
    assert world.writes() == []
    assert world.tree() == before


@pytest.mark.parametrize(
    ("old", "new", "writes"),
    [
        ("Second paragraph.", "Another *second* paragraph.", ["PATCH"]),
        ("# Title", "## Title", ["PATCH", "DELETE"]),
        ("Last paragraph.", "Last paragraph.\n\nOne more.", ["PATCH"]),
        ("# Title", "Before all.\n\n# Title", ["PATCH"]),
        ("First paragraph.\n\n", "", ["DELETE"]),
        ("- two\n", "- two\n  - inside two\n", ["PATCH"]),
        ("  - inside one\n", "", ["DELETE"]),
        ("  - inside one\n", "  - inside 1\n  - and more\n", ["PATCH", "PATCH"]),
        ("| 1 | 2 |\n", "| 1 | 2 |\n| new | row |\n", ["PATCH"]),
        ("| 1 | 2 |\n", "| one | 2 |\n", ["PATCH"]),
        ("| 1 | 2 |\n", "", ["DELETE"]),
        ("print(1)", "print(2)", ["PATCH"]),
        ("---\n\n", "", ["DELETE"]),
    ],
)
async def test_only_what_changed_is_touched(world: _World, old: str, new: str, writes: list[str]) -> None:
    text = OLD.replace(old, new)
    kept = {block["id"] for block in world.tree()}
    await world.update(text)
    world.check(text)
    assert [method for method, _ in world.writes()] == writes
    assert len(kept & {block["id"] for block in world.tree()}) >= len(kept) - 1
    world.standin.requests.clear()
    await world.update(text)
    assert world.writes() == []


async def test_new_blocks_come_before_old_ones_go(world: _World) -> None:
    await world.update("> quite another\n\n1. thing\n")
    methods = [method for method, _ in world.writes()]
    assert methods == sorted(methods, reverse=True)
    world.check("> quite another\n\n1. thing\n")


async def test_what_is_not_ours_stays_where_it_is(world: _World) -> None:
    owner = world.page.workspace.owner_id
    memory = world.standin.memory
    places = (0, 3, len(world.page.children) + 2)
    foreign = [memory.add_blocks(world.page, [_paragraph(f"mine {at}")], by=owner, at=at)[0].id for at in places]
    foreign.append(world.standin.add_page("A page of somebody's", parent=world.page).id)
    neighbour = world.page.children[places[1] - 1].id
    await world.update(OLD.replace("Second", "2nd").replace("# Title", "# Heading") + "\nThe end.\n")
    world.check(OLD.replace("Second", "2nd").replace("# Title", "# Heading") + "\nThe end.\n", foreign=foreign)
    ids = [child.id for child in world.page.live_children]
    assert ids[0] == foreign[0]
    assert ids[ids.index(foreign[1]) - 1] == neighbour
    assert ids[-2:] == foreign[-2:]
    await world.update("All else.")
    world.check("All else.", foreign=foreign)


def _edit(world: _World, block_id: str, words: str) -> None:
    node = world.standin.memory.nodes[block_id]
    node.content["rich_text"][0]["text"]["content"] = words
    node.content["rich_text"][0]["plain_text"] = words
    world.standin.memory.touch(node, by=world.page.workspace.owner_id)


def _do_edit(world: _World) -> None:
    _edit(world, world.base[1].id, "Edited in Notion")


def _do_edit_inside(world: _World) -> None:
    _edit(world, world.page.live_children[3].live_children[0].id, "Edited in Notion")


def _do_remove(world: _World) -> None:
    world.standin.memory.nodes[world.base[1].id].in_trash = True


def _do_remove_inside(world: _World) -> None:
    world.page.live_children[3].live_children[0].in_trash = True


def _do_move(world: _World) -> None:
    world.page.children.insert(0, world.page.children.pop(2))


def _do_indent(world: _World) -> None:
    first, second = world.page.live_children[1:3]
    world.hand.move(second, at=0, into=first)


def _do_indent_an_item(world: _World) -> None:
    one, two = world.page.live_children[3:5]
    world.hand.move(two, at=1, into=one)


def _do_outdent(world: _World) -> None:
    world.hand.move(world.page.live_children[3].live_children[0], at=4, into=world.page)


def _do_hand_over(world: _World) -> None:
    one, two = world.page.live_children[3:5]
    world.hand.move(one.live_children[0], at=0, into=two)


def _do_move_a_row(world: _World) -> None:
    world.hand.move(_rows(world)[2], at=1)


def _do_turn_rows_round(world: _World) -> None:
    head, _, last = _rows(world)
    world.hand.move(last, at=0)
    world.hand.move(head, at=2)


def _do_turn_rows_round_unsigned(world: _World) -> None:
    """A move need not show on what was moved."""
    _do_turn_rows_round(world)
    for row in _rows(world):
        row.edited_by = world.page.workspace.bot_id


def _rows(world: _World) -> list[Node]:
    return next(block for block in world.page.live_children if block.type == "table").live_children


@pytest.mark.parametrize(
    "do",
    [
        *(_do_edit, _do_edit_inside, _do_remove, _do_remove_inside, _do_move, _do_indent, _do_indent_an_item),
        *(_do_outdent, _do_hand_over, _do_move_a_row, _do_turn_rows_round, _do_turn_rows_round_unsigned),
    ],
)
async def test_nothing_that_somebody_did_is_overwritten_unasked(world: _World, do: object) -> None:
    assert callable(do)
    do(world)
    before = world.tree()
    text = OLD + "\nMore.\n"
    with pytest.raises(PageChanged):
        await world.update(text)
    assert world.writes() == []
    assert world.tree() == before
    await world.update(text, overwrites=True)
    world.check(text)


async def test_a_block_with_something_foreign_inside_is_not_removed(world: _World) -> None:
    item = world.page.live_children[3]
    world.standin.memory.add_blocks(item, [_paragraph("a remark")], by=world.page.workspace.owner_id)
    text = OLD.replace("- one\n  - inside one\n- two\n- three\n\n", "")
    with pytest.raises(PageChanged):
        await world.update(text)
    assert world.writes() == []
    await world.update(text, overwrites=True)
    world.check(text, foreign=[item.id])
    assert not item.in_trash


async def test_an_edit_that_says_what_we_want_is_no_conflict(world: _World) -> None:
    _edit(world, world.base[1].id, "Premier paragraph.")
    text = OLD.replace("First", "Premier")
    await world.update(text)
    assert world.writes() == []
    world.check(text)


async def test_a_row_that_was_moved_past_those_with_known_ids_is_not_moved_back(world: _World) -> None:
    rows = [f"| {number} |" for number in range(103)]
    text = "\n".join(["| a |", "| - |", *rows])
    await world.update(text)
    (table,) = world.page.live_children
    assert [bool(row.id) for row in world.base[0].children] == [False] * 100 + [True] * 4
    world.standin.requests.clear()
    world.hand.move(table.live_children[99], at=101)
    with pytest.raises(PageChanged):
        await world.update(f"{text}\n| more |")
    assert world.writes() == []


@pytest.mark.parametrize("do", [_do_move_a_row, _do_turn_rows_round])
async def test_a_move_to_where_we_want_it_is_no_conflict(world: _World, do: Callable[[_World], None]) -> None:
    do(world)
    cells = [[cell[0]["plain_text"] for cell in row.content["cells"]] for row in _rows(world)]
    head, *rows = [f"| {' | '.join(row)} |" for row in cells]
    text = OLD.replace("| a | b |\n| - | - |\n| 1 | 2 |\n| 3 | 4 |", "\n".join([head, "| - | - |", *rows]))
    assert text != OLD
    await world.update(text)
    assert world.writes() == []
    world.check(text)


async def test_what_an_update_that_was_cut_short_has_written_is_not_overwritten_either(world: _World) -> None:
    text = OLD.replace("  - inside one", "  - inside one\n  - inside as well").replace("Last paragraph.", "> New.")
    world.standin.enqueue(Fault(kind=FaultKind.LOST, method="DELETE", path="/v1/blocks/*"))
    with pytest.raises(NotionFailed):
        await world.update(text)
    world.hand.retype(world.page.live_children[3].live_children[1], "Edited in Notion")
    before = world.tree()
    with pytest.raises(PageChanged):
        await world.update(text)
    assert world.tree() == before


@pytest.mark.parametrize("applied", [False, True])
async def test_an_update_goes_on_from_wherever_it_was_cut_short(world: _World, applied: bool) -> None:
    text = (
        "# Title\n\nNew first.\n\n> new quote\n\n- one\n  - new inside\n- new item\n\n"
        "| a | c |\n| - | - |\n| 3 | 4 |\n\nEnd\n"
    )
    await world.update(text)
    requests = len(world.writes())
    assert requests > 5
    for passed in range(requests):
        await _publish(world, parse(OLD))
        world.standin.enqueue(
            Fault(kind=FaultKind.LOST, method="[PD][AE]*", path="/v1/blocks/*", skip=passed, applied=applied)
        )
        with pytest.raises(NotionFailed):
            await world.update(text)
        await world.update(text)
        world.check(text)


async def _overwrite_cut_short(world: _World, text: str, *, passed: int, applied: bool) -> PageUpdate:
    """An update that overwrites, and gets no answer to one of its requests; how it goes on."""
    found: list[tuple[SyncedBlock, ...]] = []

    async def begin(blocks: tuple[SyncedBlock, ...]) -> None:
        found.append(blocks)

    update = PageUpdate(document=parse(text), base=world.base, place=_recent(), overwrites=True)
    world.standin.enqueue(
        Fault(kind=FaultKind.LOST, method="[PD][AE]*", path="/v1/blocks/*", skip=passed, applied=applied)
    )
    with pytest.raises(NotionFailed):
        await world.notion.update_page(world.token, world.page.id, update, begin=begin)
    return replace(update, base=found[0], is_begun=True)


@pytest.mark.parametrize("applied", [False, True])
async def test_an_update_that_overwrites_goes_on_with_what_it_found_when_it_began(world: _World, applied: bool) -> None:
    text = "# Title\n\nNew first.\n\nSecond paragraph.\n\n> quote\n\n- one\n  - new inside\n- two\n"
    for passed in range(6):
        await _publish(world, parse(OLD))
        for do in (_do_edit, _do_edit_inside, _do_move):
            do(world)
        item = world.page.live_children[5]
        world.standin.memory.add_blocks(item, [_paragraph("a remark")], by=world.page.workspace.owner_id)
        rest = await _overwrite_cut_short(world, text, passed=passed, applied=applied)
        world.base = await world.notion.update_page(world.token, world.page.id, rest)
        world.check(text, foreign=[item.id])


async def test_what_is_changed_after_an_update_that_overwrites_has_begun_is_not_overwritten(world: _World) -> None:
    _do_edit(world)
    rest = await _overwrite_cut_short(world, "# Title\n\n> quote\n\nMore.\n", passed=1, applied=True)
    known, by = world.base[2].id, world.standin.memory.nodes[world.base[2].id].edited_by
    _edit(world, known, "Changed in between")
    with pytest.raises(PageChanged):
        await world.notion.update_page(world.token, world.page.id, rest)
    _edit(world, known, "Second paragraph.")
    world.standin.memory.nodes[known].edited_by = by
    # What was added before, and says something else by now, is theirs.
    added = next(child for child in world.page.live_children if child.type == "quote")
    _edit(world, added.id, "Changed in between")
    await world.notion.update_page(world.token, world.page.id, rest)
    assert (added.in_trash, plain_text(added.content["rich_text"])) == (False, "Changed in between")


@pytest.mark.parametrize("seed", range(4))
async def test_any_text_becomes_any_other_in_any_weather(world: _World, seed: int) -> None:
    rng = random.Random(seed)
    kinds = (FaultKind.LOST, FaultKind.INTERNAL, FaultKind.BAD_GATEWAY, FaultKind.UNAVAILABLE, FaultKind.GARBLED)
    world.standin.draw_faults(
        *((0.01, Fault(kind=kind, applied=True, names_committed=seed % 2 == 0)) for kind in kinds),
        *((0.01, Fault(kind=kind)) for kind in (*kinds, FaultKind.CONFLICT, FaultKind.RATE_LIMITED)),
        seed=seed,
    )
    for _ in range(6):
        text = _some_text(rng)
        await world.insist(text)
        world.check(text)


def _some_text(rng: random.Random) -> str:
    parts = (
        *("same", "another", "# heading", "## smaller", "> quote", "---", "- item\n  - inner\n    - innermost"),
        *(
            "- item\n- item two",
            "1. first\n2. second",
            "```py\ncode\n```",
            "| a |\n| - |\n| 1 |",
            "| a |\n| - |\n| 2 |",
        ),
        *("- [ ] to do", "$$\nx^2\n$$", "> [!NOTE]\n> note"),
    )
    return "\n\n".join(rng.choices(parts, k=rng.randint(1, 25)))


async def test_a_long_page_is_brought_up_to_date(world: _World) -> None:
    lines = [f"paragraph {number}" for number in range(260)]
    await _publish(world, parse("\n\n".join(lines)))
    lines[130:130] = [f"> quote {number}" for number in range(150)]
    del lines[10:20]
    text = "\n\n".join(lines)
    await world.update(text)
    world.check(text)
    methods = [method for method, _ in world.writes()]
    assert methods == ["PATCH"] * 2 + ["DELETE"] * 10


async def test_without_a_base_all_that_our_integration_made_is_ours(world: _World) -> None:
    update = PageUpdate(document=parse("Other."), base=None, place=Place(), overwrites=False)
    world.base = await world.notion.update_page(world.token, world.page.id, update)
    world.check("Other.")


# Appending.


async def _append(world: _World, page: Node, text: str, place: Place) -> tuple[SyncedBlock, ...]:
    return await world.notion.complete_page(world.token, page.id, parse(text), place=place)


@pytest.mark.parametrize("applied", [False, True])
async def test_an_append_goes_on_from_wherever_it_was_cut_short(world: _World, applied: bool) -> None:
    text = "\n\n".join([*(f"line {number}" for number in range(130)), "- a\n  - b\n    - c\n      - d", OLD])
    for passed in range(3):
        page = world.standin.add_page("Somebody's", parent=world.standin.page(world.parent.id))
        owner = page.workspace.owner_id
        (first,) = world.standin.memory.add_blocks(page, [_paragraph("theirs")], by=owner)
        # Made by our integration, too, and long ago.
        world.standin.memory.add_blocks(page, [_paragraph("line 0")], by=page.workspace.bot_id)
        end = await world.notion.find_end(world.token, page.id)
        assert (end.page_id, end.last_block_id) == (page.id, page.children[-1].id)
        place = replace(_recent(), is_our_page=False, anchor=end.last_block_id)
        world.standin.enqueue(
            Fault(kind=FaultKind.LOST, method="PATCH", path="/v1/blocks/*", skip=passed, applied=applied)
        )
        with pytest.raises(NotionFailed):
            await _append(world, page, text, place)
        # Meanwhile somebody goes on writing.
        (last,) = world.standin.memory.add_blocks(page, [_paragraph("theirs as well")], by=owner)
        base = await _append(world, page, text, place)
        tree = world.standin.children_tree(page.id)
        assert [block["id"] for block in tree[:2]] == [first.id, end.last_block_id]
        ours = [block for block in tree[2:] if block["id"] != last.id]
        assert _shown(ours) == _said(to_notion(parse(text)))
        assert [block.id for block in base] == [block["id"] for block in ours]


async def test_two_appends_that_were_cut_short_find_their_own_blocks(world: _World) -> None:
    page = world.page
    one = "\n\n".join(f"one {number}" for number in range(150))
    other = "\n\n".join(f"other {number}" for number in range(150))
    cut = Fault(kind=FaultKind.LOST, method="PATCH", path="/v1/blocks/*", skip=1)
    others = block_ids(world.base)
    places = []
    for text in (one, other):
        end = await world.notion.find_end(world.token, page.id)
        places.append(replace(_recent(), is_our_page=False, anchor=end.last_block_id, others=others, has_rivals=True))
        world.standin.enqueue(cut)
        with pytest.raises(NotionFailed):
            await _append(world, page, text, places[-1])
    first = await _append(world, page, one, places[0])
    place = replace(places[1], others=others | block_ids(first), has_rivals=False)
    second = await _append(world, page, other, place)
    tree = world.standin.children_tree(page.id)[len(world.base) :]
    assert len(tree) == 300
    shown = {block["id"]: block["paragraph"]["rich_text"][0]["plain_text"] for block in tree}
    assert "\n\n".join(shown[block.id] for block in first) == one
    assert "\n\n".join(shown[block.id] for block in second) == other


async def test_two_appends_that_take_turns_in_failing_stay_apart(world: _World) -> None:
    page = world.page
    texts = ["\n\n".join(f"{name} {number}" for number in range(250)) for name in ("one", "other")]
    others = block_ids(world.base)
    end = await world.notion.find_end(world.token, page.id)
    # Both begin behind the same block: of the first, nothing took effect.
    place = replace(_recent(), is_our_page=False, anchor=end.last_block_id, others=others, has_rivals=True)
    for turn, passed in ((0, 0), (1, 1), (0, 1), (1, 1), (0, 0)):
        world.standin.enqueue(Fault(kind=FaultKind.LOST, method="PATCH", path="/v1/blocks/*", skip=passed))
        with pytest.raises(NotionFailed):
            await _append(world, page, texts[turn], place)
    bases = [await _append(world, page, text, place) for text in texts]
    tree = world.standin.children_tree(page.id)[len(world.base) :]
    assert [block["id"] for block in tree] == [block.id for base in reversed(bases) for block in base]
    assert _shown(tree) == _said(to_notion(parse("\n\n".join(reversed(texts)))))


async def test_an_update_leaves_alone_what_was_appended(world: _World) -> None:
    end = await world.notion.find_end(world.token, world.page.id)
    others = block_ids(world.base)
    place = replace(_recent(), is_our_page=False, anchor=end.last_block_id, others=others)
    appended = await _append(world, world.page, "Appended.\n\nMore.", place)
    ids = [block.id for block in appended]
    await world.update("New.\n\nText.\n", place=replace(_recent(), others=frozenset(ids)))
    world.check("New.\n\nText.\n", foreign=ids)
    assert [block["id"] for block in world.tree()[-2:]] == ids


async def test_an_update_leaves_alone_what_an_append_that_was_cut_short_has_written(world: _World) -> None:
    # Some of it says what our version says, too.
    text = "\n\n".join([OLD, *(f"other {number}" for number in range(150))])
    end = await world.notion.find_end(world.token, world.page.id)
    others = block_ids(world.base)
    place = replace(_recent(), is_our_page=False, anchor=end.last_block_id, others=others, has_rivals=True)
    world.standin.enqueue(Fault(kind=FaultKind.LOST, method="PATCH", path="/v1/blocks/*", skip=1))
    with pytest.raises(NotionFailed):
        await _append(world, world.page, text, place)
    appended = [block["id"] for block in world.tree()[len(world.base) :]]
    assert len(appended) == 100
    new = OLD.replace("Second", "2nd").replace("- two\n", "")
    await world.update(new, place=replace(_recent(), has_rivals=True))
    world.check(new, foreign=appended)
    assert [block["id"] for block in world.tree()[len(world.base) :]] == appended
    base = await _append(world, world.page, text, replace(place, others=block_ids(world.base)))
    assert [block.id for block in base[:100]] == appended
    assert _shown(world.tree()[len(world.base) :]) == _said(to_notion(parse(text)))


async def test_an_update_leaves_alone_what_else_our_integration_writes(world: _World) -> None:
    bot_id = world.page.workspace.bot_id
    (other,) = world.standin.memory.add_blocks(world.page, [_paragraph("something else")], by=bot_id, at=2)
    new = OLD.replace("Second", "2nd")
    await world.update(new)
    world.check(new, foreign=[other.id])


@pytest.mark.parametrize("has_rivals", [False, True])
async def test_an_update_that_was_cut_short_finds_its_own_blocks_among_others(world: _World, has_rivals: bool) -> None:
    text = OLD.replace("First paragraph.", "- a\n\n> b").replace("Last paragraph.", "> New.\n\n---")
    place = replace(_recent(), has_rivals=has_rivals)
    world.standin.enqueue(Fault(kind=FaultKind.LOST, method="DELETE", path="/v1/blocks/*", skip=1))
    with pytest.raises(NotionFailed):
        await world.update(text, place=place)
    count = len(world.writes())
    await world.update(text, place=place)
    world.check(text)
    assert {method for method, _ in world.writes()[count:]} == {"DELETE"}


@pytest.mark.parametrize(("passed", "applied"), [(0, True), (1, False), (1, True), (2, True)])
async def test_what_was_written_of_a_superseded_version_goes(world: _World, passed: int, applied: bool) -> None:
    text = f"> Before.\n\n{OLD}".replace("- two\n", "- two\n\n> Between.\n\n").replace("Last", "> Behind.\n\nLast")
    world.standin.enqueue(Fault(kind=FaultKind.LOST, method="PATCH", path="/v1/blocks/*", skip=passed, applied=applied))
    with pytest.raises(NotionFailed):
        await world.update(text)
    bot_id = world.page.workspace.bot_id
    (other,) = world.standin.memory.add_blocks(world.page, [_paragraph("something else")], by=bot_id)
    new = OLD.replace("Second", "2nd")
    await world.update(new, superseded=[text])
    world.check(new, foreign=[other.id])
