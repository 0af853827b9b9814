"""What must be true in the end, looked up in the database and in the stand-ins themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from domain.generation import GenerationStatus, RecoveryPolicy
from domain.publication import PublicationStatus
from integrations.markdown import parse
from integrations.notion_blocks import NotionBlock, to_notion
from tests.faults.database import rows
from tests.faults.people import Asked, Json
from tests.standins.notion import NotionStandin
from tests.standins.notion_state import Node

_STATES = """
SELECT u.username, idempotency_key AS key, h.status, generated_content AS content, reasoning, h.epoch, h.fence, h.owner,
       (SELECT count(*) FROM generation_chunks c WHERE c.generation_id = h.id) AS chunks,
       p.status AS publication, p.attempts, p.failure_message, n.page_id
FROM content_history h
JOIN users u ON u.id = h.user_id
LEFT JOIN publications p ON p.generation_id = h.id
LEFT JOIN notion_pages n ON n.id = p.notion_page_id
"""

Shape = tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A generation as it is stored."""

    username: str
    key: str
    status: GenerationStatus
    content: str
    reasoning: str
    epoch: int
    fence: int
    owner: str | None
    chunks: int
    publication: PublicationStatus | None
    attempts: int | None
    failure_message: str | None
    page_id: str | None


async def states(database_url: str) -> dict[tuple[str, str], State]:
    """All of them, by their owner's name and idempotency key."""
    found = {}
    for row in await rows(database_url, _STATES):
        fields = dict(row)
        fields["status"] = GenerationStatus(fields["status"])
        if fields["publication"] is not None:
            fields["publication"] = PublicationStatus(fields["publication"])
        state = State(**fields)
        assert (state.username, state.key) not in found, "two generations of one key"
        found[state.username, state.key] = state
    return found


async def check_generations(
    database_url: str, asked: Sequence[Asked], *, allowed: Collection[GenerationStatus]
) -> Counter[str]:
    """Of these people's generations none is lost, none is stuck, and each holds what the writer wrote, or a beginning.

    How many ended how.
    """
    people = {each.person.name for each in asked}
    stored = {place: state for place, state in (await states(database_url)).items() if state.username in people}
    assert len({each.place for each in asked}) == len(asked)
    assert stored.keys() == {each.place for each in asked}
    for each in asked:
        state, text = stored[each.place], each.order.text
        possible = {*allowed, GenerationStatus.CANCELLED} if each.is_cancelled else set(allowed)
        assert state.status in possible, state
        assert (state.owner, state.chunks) == (None, 0), state
        if state.status is GenerationStatus.SUCCEEDED:
            assert state.content == text, f"{each.key} is not what was written"
        else:
            assert text.startswith(state.content), f"{each.key} is no beginning of what was written"
        if state.status is GenerationStatus.INTERRUPTED:
            # What has been started again and again is given up, whatever it has shown.
            assert state.content or state.fence >= RecoveryPolicy().max_starts
    return Counter(state.status.value for state in stored.values())


async def check_pages(database_url: str, notion: NotionStandin, parents: Iterable[Node], asked: Sequence[Asked]) -> int:
    """Every published answer has one page with every block once, and there is no other page; how many there are."""
    stored = await states(database_url)
    pages = {page.id: page for parent in parents for page in notion.pages_under(parent)}
    claimed: set[str] = set()
    for each in asked:
        state = stored[each.place]
        assert (state.publication is not None) == (each.parent_id is not None), state
        if state.publication is None:
            continue
        if state.status is not GenerationStatus.SUCCEEDED:
            assert (state.publication, state.page_id) == (PublicationStatus.FAILED, None), state
            continue
        assert state.publication is PublicationStatus.PUBLISHED, state
        assert state.page_id is not None
        if each.is_appended:
            assert state.page_id == each.parent_id
            continue
        assert state.page_id in pages, f"the page of {each.key} is lost"
        assert state.page_id not in claimed, f"the page of {each.key} is another one's too"
        claimed.add(state.page_id)
        page = pages[state.page_id]
        assert page.words == each.title
        written, wanted = outline_of(notion.children_tree(page.id)), wanted_outline(each.edited or each.order.text)
        assert written == wanted, f"the page of {each.key}: {_difference(written, wanted)}"
    surplus = [pages[page_id].words for page_id in pages.keys() - claimed]
    assert not surplus, f"pages that nobody knows of: {surplus}"
    return len(claimed)


async def check_diaries(
    database_url: str, notion: NotionStandin, diaries: Iterable[Node], asked: Sequence[Asked]
) -> int:
    """Every answer that was appended is on its page once, whole and in one piece, and nothing else is; how many are."""
    stored = await states(database_url)
    count = 0
    for diary in diaries:
        answers = [
            wanted_outline(each.order.text)
            for each in asked
            if each.is_appended
            and each.parent_id == diary.id
            and stored[each.place].status is GenerationStatus.SUCCEEDED
        ]
        count += len(answers)
        written = outline_of(notion.children_tree(diary.id))
        while written:
            found = next((answer for answer in answers if answer == written[: len(answer)]), None)
            assert found is not None, f"a block in the wrong place, or twice: {written[0]!r}"
            answers.remove(found)
            del written[: len(found)]
        assert not answers, f"{len(answers)} answers are missing"
    return count


def wanted_outline(text: str) -> list[Shape]:
    """Kind, words and inner blocks of every block that an answer makes."""
    return [_wanted(block) for block in to_notion(parse(text))]


def outline_of(blocks: Sequence[Json]) -> list[Shape]:
    """The same of blocks as Notion shows them."""
    return [_found(block) for block in blocks]


def _wanted(block: NotionBlock) -> Shape:
    return block.kind, _words(block.payload[block.kind]), tuple(_wanted(child) for child in block.children)


def _found(block: Json) -> Shape:
    content = block[block["type"]]
    return block["type"], _words(content), tuple(_found(child) for child in content.get("children", ()))


def _words(content: Json) -> str:
    cells = [item for cell in content.get("cells", ()) for item in cell]
    items = [*content.get("rich_text", ()), *cells]
    return "".join(item["text"]["content"] for item in items)


def _difference(written: list[Shape], wanted: list[Shape]) -> str:
    for place, (one, other) in enumerate(zip(written, wanted, strict=False)):
        if one != other:
            return f"block {place} of {len(written)} is {one!r}, not {other!r}"
    return f"{len(written)} blocks, not {len(wanted)}"
