"""Writes blocks to a page of Notion: looks at what is there first, and appends what is missing, level by level."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate, takewhile
from typing import Final, Protocol

from domain.errors import NotionFailed
from domain.notion import Permit
from domain.notion_base import WHOLE_PAGE, Place, SyncedBlock
from integrations import notion_failures as failures
from integrations.notion_answers import moment, reading
from integrations.notion_blocks import Json, NotionBlock, batches
from integrations.notion_diff import counterparts, matches
from integrations.notion_hashes import said_hash, said_words, shown_hash, shown_words

START: Final = "start"
"""Before everything else under a parent."""


class NotionCalls(Protocol):
    """Requests of one token; every failure is a NotionFailed."""

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Json | None = None,
        body: Json | None = None,
        permit: Permit | None = None,
    ) -> Json:
        """One request; with a permit, if it would change something."""

    def children(self, block_id: str) -> AsyncIterator[Json]:
        """The blocks directly under a block or a page, in order."""


@dataclass(slots=True, kw_only=True)
class Written:
    """A block that was written; `shown` is None when Notion has not told what it shows, `id` empty when it is gone."""

    said: NotionBlock
    id: str
    shown: str | None
    inside: list[Written] = field(default_factory=list)

    def synced(self) -> SyncedBlock:
        """As the base keeps it. The ids of what came along with its parent are not known, and left empty."""
        said = said_hash(self.said)
        carried = self.said.children[: len(self.said.children) - len(self.inside)]
        inside = (*map(_carried, carried), *(each.synced() for each in self.inside))
        return SyncedBlock(self.id, said, self.shown or said, inside)


def synced(written: Sequence[Written]) -> tuple[SyncedBlock, ...]:
    """As the base keeps them; CPU-bound."""
    return tuple(each.synced() for each in written)


def _carried(said: NotionBlock) -> SyncedBlock:
    own = said_hash(said)
    return SyncedBlock("", own, own, tuple(map(_carried, said.children)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A block as a listing shows it."""

    id: str
    kind: str
    shown: str
    words: tuple[str, str]
    made_by: str
    made_at: datetime
    edited_by: str
    is_filled: bool

    @property
    def is_page(self) -> bool:
        """Whether it is a page or a database of its own."""
        return self.kind.startswith("child_")


def listed_block(block: Json) -> Listed:
    """Reads a block of a listing. Raises NotionFailed(MALFORMED)."""
    with reading(writes=False):
        return Listed(
            id=str(block["id"]),
            kind=str(block["type"]),
            shown=shown_hash(block),
            words=shown_words(block),
            made_by=str(block["created_by"]["id"]),
            made_at=moment(block["created_time"]),
            edited_by=str(block["last_edited_by"]["id"]),
            is_filled=bool(block["has_children"]),
        )


class NotionWriter:
    """Writes with one token. `makers`: the users whose blocks count as ours; a `permit` is asked before each write."""

    def __init__(self, calls: NotionCalls, *, makers: Collection[str], permit: Permit) -> None:
        self.permit = permit
        self._calls = calls
        self._makers = makers

    async def complete(
        self, parent_id: str, blocks: Sequence[NotionBlock], *, carried: int = 0, place: Place = WHOLE_PAGE
    ) -> list[Written]:
        """Appends those of the parent's blocks that were not written yet, and inside those that were.

        `carried`: how many came along with the parent. What somebody has edited or deleted since stays so. Answers all
        of them. Raises NotionFailed(CONFLICT) when nobody can tell which are there.
        """
        listed = [listed_block(block) async for block in self._calls.children(parent_id)]
        present = await asyncio.to_thread(self._present, listed, blocks, place)
        made = await asyncio.to_thread(self._made, present, blocks, carried)
        after = _after(listed, [each for each in made if each is not None])
        added = await self.append(parent_id, blocks[len(made) :], after=after)
        there = [await self._there(said, one) for said, one in zip(blocks, made, strict=False)]
        return there + added

    def _present(self, listed: Sequence[Listed], blocks: Sequence[NotionBlock], place: Place) -> list[Listed]:
        """Which of the blocks that are there are ours."""
        ids = [each.id for each in listed]
        start = ids.index(place.anchor) + 1 if place.anchor in ids else 0
        ours = [
            each
            for each in listed[start:]
            if each.made_by in self._makers
            and not each.is_page
            and each.id not in place.others
            and place.may_hold(each.made_at)
        ]
        return _own_run(ours, blocks) if place.has_rivals else ours

    def _made(self, present: Sequence[Listed], blocks: Sequence[NotionBlock], carried: int) -> Sequence[Listed | None]:
        """What has become of each of the blocks that were written: None of one that somebody has deleted.

        Requests take effect as a whole, so it is the number that some of them make and that fits the words best.
        """
        words = list(map(said_words, blocks))
        said = set(words)
        # Of other words and by our integration alone, it is something else that this has made.
        present = [each for each in present if each.words in said or each.edited_by not in self._makers]
        there = [each.words for each in present]
        ends = list(accumulate((len(batch.blocks) for batch in batches(blocks[carried:])), initial=carried))
        if len(there) in ends and there == words[: len(there)]:
            return present
        count = max(ends, key=lambda end: (len(matches(words[:end], there)), -abs(end - len(there))))
        # Other words at the place of ours are a person's edit, or none of ours.
        pairs = {
            number: place
            for number, place in counterparts(words[:count], there)
            if words[number] == there[place] or present[place].edited_by not in self._makers
        }
        if len(pairs) < len(present):
            raise failures.changed_meanwhile()
        made = [present[pairs[number]] if number in pairs else None for number in range(count)]
        if any(one is None and not block.is_whole for block, one in zip(blocks, made, strict=False)):
            raise failures.changed_meanwhile()
        return made

    async def _there(self, said: NotionBlock, made: Listed | None) -> Written:
        if made is None:
            return Written(said=said, id="", shown=None)
        # What somebody has made of it is not what it showed.
        shown = made.shown if made.edited_by in self._makers else None
        return Written(said=said, id=made.id, shown=shown, inside=await self._complete_inside(said, made))

    async def _complete_inside(self, said: NotionBlock, made: Listed) -> list[Written]:
        if said.is_whole:
            return []
        if made.kind != said.kind:
            raise failures.changed_meanwhile()
        if made.is_filled:
            return await self.complete(made.id, said.children, carried=said.carried)
        return await self.append(made.id, said.children)

    async def append(self, parent_id: str, blocks: Sequence[NotionBlock], *, after: str | None = None) -> list[Written]:
        """Appends blocks with all that is inside them, level by level; `after`: a block, START, or None, the end."""
        made: list[Written] = []
        for batch in batches(blocks):
            added = await self._append(parent_id, batch.children, after=after)
            made += [
                Written(said=said, id=block_id, shown=shown)
                for said, (block_id, shown) in zip(batch.blocks, added, strict=True)
            ]
            after = made[-1].id if after is not None else None
        for each in made:
            if each.said.later:
                each.inside = await self.append(each.id, each.said.later)
        return made

    async def _append(self, parent_id: str, children: list[Json], *, after: str | None) -> list[tuple[str, str | None]]:
        """One request; answers id and hash of each block of its first level."""
        body: Json = {"children": children}
        if after == START:
            body["position"] = {"type": "start"}
        elif after is not None:
            body["position"] = {"type": "after_block", "after_block": {"id": after}}
        try:
            answer = await self._calls.call("PATCH", f"blocks/{parent_id}/children", body=body, permit=self.permit)
        except NotionFailed as failed:
            # Saved, but Notion could not build its answer in time; it has said what it made.
            if len(failed.committed_ids) == len(children):
                return [(block_id, None) for block_id in failed.committed_ids]
            raise
        with reading(writes=True):
            made: list[tuple[str, str | None]] = [(str(block["id"]), shown_hash(block)) for block in answer["results"]]
        if len(made) != len(children):
            raise failures.malformed(ambiguous=True)
        return made


def _after(listed: Sequence[Listed], present: Sequence[Listed]) -> str | None:
    """After which block the next goes: what somebody has added below ours stays below.

    Without any of ours that is the end, also of an append: its anchor may stand in the midst of another one by now.
    """
    return present[-1].id if present and present[-1].id != listed[-1].id else None


def _own_run(listed: list[Listed], blocks: Sequence[NotionBlock]) -> list[Listed]:
    """Which of these were surely made of the first blocks, where others may have left some before and behind.

    Requests take effect as a whole, so it is the most that some number of them makes with the same words.
    """
    words = list(map(said_words, blocks))
    ends = list(accumulate(len(batch.blocks) for batch in batches(blocks)))
    best: list[Listed] = []
    for start, first in enumerate(listed):
        if not words or first.words != words[0]:
            continue
        alike = sum(
            1 for _ in takewhile(lambda pair: pair[0].words == pair[1], zip(listed[start:], words, strict=False))
        )
        length = max((end for end in ends if end <= alike), default=0)
        if length > len(best):
            best = listed[start : start + length]
    return best
