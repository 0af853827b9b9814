"""Brings a publication's blocks in Notion to a new version, touching only what differs.

Everything is decided by what is there and what is wanted. So an update that was cut short is simply repeated: what it
had written already is found, and is no difference any more. The base (what we wrote, and how Notion showed it) tells
what somebody has changed since; that is not overwritten unless it is asked for. New blocks are written before old ones
go. What is not ours is never touched, and a block with something foreign inside never removed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from domain.notion import PageUpdate
from domain.notion_base import PageChanged, Place, SyncedBlock, block_ids
from integrations.notion_answers import reading
from integrations.notion_blocks import Json, NotionBlock
from integrations.notion_diff import counterparts, matches
from integrations.notion_hashes import said_hash, said_words, shown_hash
from integrations.notion_taken import is_told_apart, key_of
from integrations.notion_writer import START, Listed, NotionCalls, NotionWriter, listed_block, synced

# Whose text can be changed in place. Of all others a different one takes the place of the old.
_EDITABLE: Final = frozenset(
    {
        *("paragraph", "heading_1", "heading_2", "heading_3", "heading_4", "bulleted_list_item", "numbered_list_item"),
        *("to_do", "quote", "toggle", "callout", "code", "equation", "table_row", "image"),
    }
)
_COLOURED: Final = _EDITABLE - {"code", "equation", "table_row", "image"}
_CAPTIONED: Final = frozenset({"code", "image"})
_HASH: Final = re.compile("[0-9a-f]+")


@dataclass(slots=True, kw_only=True)
class Seen:
    """A block of ours as it is now. `own` stands for its content: what we said of it, if it still shows that.

    One that is not `is_sure` may be another publication's: it is ours only if it is just what is wanted.
    """

    id: str
    kind: str
    own: str
    shown: str
    is_changed: bool
    inside: list[Seen]
    has_foreign: bool
    is_sure: bool = True
    key: str = ""

    def __post_init__(self) -> None:
        self.key = key_of(self.own, (each.key for each in self.inside))

    @property
    def stays(self) -> bool:
        """Whether it is left alone even if nothing is wanted in its place: it says nothing, or is a page of its own."""
        return not self.own or self.kind.startswith("child_")

    def synced(self) -> SyncedBlock:
        """As the base keeps it."""
        return SyncedBlock(self.id, self.own, self.shown, tuple(each.synced() for each in self.inside))

    @property
    def holds_foreign(self) -> bool:
        """Whether there is something inside that is not ours."""
        return self.has_foreign or any(each.holds_foreign for each in self.inside)


@dataclass(slots=True)
class Wanted:
    """A block of the new version."""

    block: NotionBlock
    own: str
    key: str
    inside: list[Wanted]


@dataclass(slots=True)
class Left:
    """A block that stays as it is, with everything inside."""

    seen: Seen


@dataclass(slots=True, kw_only=True)
class Kept:
    """A block that stays; `is_edited`: with other content."""

    seen: Seen
    wanted: Wanted
    is_edited: bool
    inside: Level


@dataclass(slots=True, kw_only=True)
class Added:
    """Siblings that are new, and after which block they go; None if there is nothing else, START for the beginning."""

    wanted: list[Wanted]
    after: str | None


@dataclass(slots=True)
class Level:
    """What becomes of the blocks under one parent."""

    steps: list[Left | Kept | Added] = field(default_factory=list)
    removed: list[Seen] = field(default_factory=list)

    def all_removed(self) -> Iterator[Seen]:
        """What goes, on this level and inside what stays."""
        yield from self.removed
        for step in self.steps:
            if isinstance(step, Kept):
                yield from step.inside.all_removed()

    def all_untouched(self) -> Iterator[Seen]:
        """What stays and says what it said."""
        for step in self.steps:
            if isinstance(step, Left):
                yield from _all([step.seen])
            elif isinstance(step, Kept):
                if not step.is_edited:
                    yield step.seen
                yield from step.inside.all_untouched()

    def all_written(self) -> Iterator[str]:
        """The hashes of what is said anew, in new blocks or in some that are edited."""
        for step in self.steps:
            if isinstance(step, Added):
                yield from _owns(step.wanted)
            elif isinstance(step, Kept):
                if step.is_edited:
                    yield step.wanted.own
                yield from step.inside.all_written()


def wanted(blocks: Iterable[NotionBlock]) -> list[Wanted]:
    """A new version with its hashes; CPU-bound."""
    made = []
    for block in blocks:
        own, inside = said_hash(block), wanted(block.children)
        made.append(Wanted(block, own, key_of(own, (each.key for each in inside)), inside))
    return made


def words_of(blocks: Iterable[NotionBlock]) -> frozenset[tuple[str, str]]:
    """What versions say on any level, in words; CPU-bound."""
    words: set[tuple[str, str]] = set()
    for block in blocks:
        words.add(said_words(block))
        words |= words_of(block.children)
    return frozenset(words)


class PageReader:
    """Finds out what has become of a publication's blocks; `missing` and `is_moved` tell what is not to be seen.

    `words`: what is said by any version that attempts since the base may have written.
    """

    def __init__(
        self, calls: NotionCalls, *, makers: Collection[str], place: Place, words: Collection[tuple[str, str]]
    ) -> None:
        self._calls = calls
        self._makers = makers
        self._place = place
        self._words = words
        self._known: frozenset[str] = frozenset()
        self.missing: list[SyncedBlock] = []
        self.is_moved = False

    async def read_page(self, page_id: str, base: Sequence[SyncedBlock] | None) -> list[Seen]:
        """Our blocks on a page, in order. Without a base all that our integration has made there counts as ours."""
        self._known = block_ids(base or ())
        seen, _ = await self.read(page_id, base)
        return seen

    async def read(
        self, parent_id: str, base: Sequence[SyncedBlock] | None, *, is_top: bool = True
    ) -> tuple[list[Seen], bool]:
        """Our blocks under a parent, in order, and whether there are others.

        Without a base all that our integration has made there counts as ours.
        """
        listed = [listed_block(block) async for block in self._calls.children(parent_id)]
        here = {each.id for each in base or ()}
        self.is_moved = self.is_moved or any(each.id in self._known and each.id not in here for each in listed)
        ours = [each for each in listed if self._is_ours(each, base, is_top=is_top)]
        known = self._matched(ours, base or ())
        seen = [await self._seen(each, known.get(place), has_base=base is not None) for place, each in enumerate(ours)]
        if is_top and base is not None and self._place.has_rivals:
            for place, each in enumerate(seen):
                each.is_sure = place in known
        return seen, len(ours) < len(listed)

    def _is_ours(self, block: Listed, base: Sequence[SyncedBlock] | None, *, is_top: bool) -> bool:
        if block.id in self._known:
            return True
        if block.is_page or block.id in self._place.others:
            return False
        if block.made_by not in self._makers:
            return False
        # On the page itself only what updates since the base may have written that were cut short.
        return not is_top or base is None or (self._place.may_hold(block.made_at) and block.words in self._words)

    def _matched(self, ours: Sequence[Listed], base: Sequence[SyncedBlock]) -> dict[int, SyncedBlock]:
        """Which of ours is which of the base: by id, and between those, where it is not known, by content and order."""
        places = {each.id: place for place, each in enumerate(ours)}
        found = {places[each.id]: each for each in base if each.id in places}
        self.is_moved = self.is_moved or list(found) != sorted(found)
        self.missing += (each for each in base if each.id and each.id not in places)
        start = 0
        for end, nameless in _stretches(base, places, len(ours)):
            free = [place for place in range(start, end) if place not in found]
            pairs = counterparts([each.said for each in nameless], [ours[place].shown for place in free])
            found |= {free[other]: nameless[one] for one, other in pairs}
            self.missing += _out_of_place(nameless, {ours[place].shown for place in free if place not in found}, pairs)
            start = end + 1
        return found

    async def _seen(self, block: Listed, base: SyncedBlock | None, *, has_base: bool) -> Seen:
        is_as_written = base is not None and block.shown in (base.shown, base.said)
        inside: list[Seen] = []
        has_foreign = False
        below = () if base is None and has_base else None if base is None else base.children
        if block.is_page:
            has_foreign = True
        elif block.is_filled:
            inside, has_foreign = await self.read(block.id, below, is_top=False)
        else:
            self.missing += below or ()
        return Seen(
            id=block.id,
            kind=block.kind,
            own=base.said if base is not None and is_as_written else block.shown,
            shown=block.shown,
            is_changed=has_base and not is_as_written and block.edited_by not in self._makers,
            inside=inside,
            has_foreign=has_foreign,
        )


def _out_of_place(
    nameless: Sequence[SyncedBlock], strange: Collection[str], pairs: Iterable[tuple[int, int]]
) -> Iterable[SyncedBlock]:
    """Those that are gone; all, if one has come to another place: that can be said of the others as well."""
    used = {one for one, _ in pairs}
    gone = [each for number, each in enumerate(nameless) if number not in used]
    return nameless if any(each.said in strange for each in gone) else gone


def _stretches(
    base: Sequence[SyncedBlock], places: Mapping[str, int], end: int
) -> Iterator[tuple[int, list[SyncedBlock]]]:
    """The base's blocks without an id, up to each that has one and is there, with the place of that; then `end`."""
    nameless: list[SyncedBlock] = []
    for each in base:
        if not each.id:
            nameless.append(each)
        elif each.id in places:
            yield places[each.id], nameless
            nameless = []
    yield end, nameless


def plan_update(reader: PageReader, seen: Sequence[Seen], blocks: Iterable[NotionBlock], update: PageUpdate) -> Level:
    """What to do on a page that was read, to make it show the blocks; CPU-bound. Raises PageChanged."""
    new = wanted(blocks)
    seen = _likely(seen, new)
    level = plan(seen, new)
    is_accepted = update.overwrites and not update.is_begun
    is_undoing = not is_accepted and is_overwriting(reader, seen, level)
    # With something foreign inside it is not removed even when that was asked for.
    if is_undoing or (not update.overwrites and any(each.holds_foreign for each in level.all_removed())):
        raise PageChanged(
            "Somebody has changed this in Notion. Take that over here, or update again and overwrite it.",
            field=("publish", "overwrite"),
        )
    return level


def _likely(seen: Sequence[Seen], new: Sequence[Wanted]) -> list[Seen]:
    """The blocks that are surely ours, and of the others those that fill what these leave open, at its place."""
    keys = [each.key for each in new]
    sure = [place for place, each in enumerate(seen) if each.is_sure]
    likely = set(sure)
    start = new_start = 0
    for number, new_place, count in [*_alike([seen[place] for place in sure], new), (len(sure), len(new), 0)]:
        place = sure[number] if number < len(sure) else len(seen)
        others = [at for at in range(start, place) if not seen[at].is_sure]
        pairs = matches([seen[at].key for at in others], keys[new_start:new_place])
        likely |= {others[one] for one, _ in pairs}
        start, new_start = place + 1, new_place + count
    return [each for place, each in enumerate(seen) if place in likely]


def plan(seen: Sequence[Seen], new: Sequence[Wanted]) -> Level:
    """What to do under one parent so that it shows the new version; pure and CPU-bound."""
    level = Level()
    before, new_before = 0, 0
    for place, new_place, count in [*_alike(seen, new), (len(seen), len(new), 0)]:
        _plan_between(level, seen, range(before, place), new[new_before:new_place])
        level.steps += map(Left, seen[place : place + 1])
        before, new_before = place + 1, new_place + count
    return level


def _alike(seen: Sequence[Seen], new: Sequence[Wanted]) -> Iterator[tuple[int, int, int]]:
    """Places of blocks that say just what is wanted, the first place where it is, and how many wanted ones that are."""
    keys = [each.key.split() for each in seen]
    found = dict(matches(list(chain.from_iterable(keys)), [each.key for each in new]))
    start = 0
    for place, own in enumerate(keys):
        first = found.get(start)
        if own and first is not None and all(found.get(start + n) == first + n for n in range(len(own))):
            yield place, first, len(own)
        start += len(own)


def _plan_between(level: Level, seen: Sequence[Seen], places: range, new: Sequence[Wanted]) -> None:
    """Blocks that differ: those of one kind are edited in place, in order; the rest is added and removed."""
    start = places.start
    run: list[Wanted] = []
    for each in new:
        heir = next((place for place in range(start, places.stop) if _can_become(seen[place], each)), None)
        if heir is None:
            run.append(each)
            continue
        _leave(level, seen[start:heir])
        _add(level, run, seen, heir)
        run = []
        level.steps.append(_kept(seen[heir], each))
        start = heir + 1
    _leave(level, seen[start : places.stop])
    _add(level, run, seen, places.stop)


def _leave(level: Level, unwanted: Iterable[Seen]) -> None:
    """What of ours nothing is wanted in place of; what may be somebody else's is none of it."""
    for each in unwanted:
        if each.is_sure and each.stays:
            level.steps.append(Left(each))
        elif each.is_sure:
            level.removed.append(each)


def _add(level: Level, run: list[Wanted], seen: Sequence[Seen], next_place: int) -> None:
    """Behind what stands before it now, though that may go: so it keeps its place among what is not ours."""
    if run:
        after = seen[next_place - 1].id if next_place else START if seen else None
        level.steps.append(Added(wanted=run, after=after))


def _can_become(seen: Seen, new: Wanted) -> bool:
    is_editable = seen.kind == new.block.kind and seen.kind in _EDITABLE and is_told_apart(seen.own)
    return seen.is_sure and (is_editable or seen.own == new.own)


def _kept(seen: Seen, new: Wanted) -> Kept:
    return Kept(seen=seen, wanted=new, is_edited=seen.own != new.own, inside=plan(seen.inside, new.inside))


def is_overwriting(reader: PageReader, seen: Sequence[Seen], level: Level) -> bool:
    """Whether the plan would undo what somebody has done to our blocks in Notion."""
    untouched, written = {each.id for each in level.all_untouched()}, set(level.all_written())
    return (
        reader.is_moved
        or any(each.is_changed and each.is_sure and each.id not in untouched for each in _all(seen))
        # What an update has removed itself is not wanted any more, or was written elsewhere before.
        or any(said in written for each in reader.missing for said in _HASH.findall(each.said))
    )


def _all(seen: Iterable[Seen]) -> Iterator[Seen]:
    for each in seen:
        yield each
        yield from _all(each.inside)


def _owns(new: Iterable[Wanted]) -> Iterator[str]:
    for each in new:
        yield each.own
        yield from _owns(each.inside)


class PageUpdater:
    """Carries out a plan: first what is edited and added, then what goes."""

    def __init__(self, calls: NotionCalls, writer: NotionWriter) -> None:
        self._calls = calls
        self._writer = writer

    async def carry_out(self, page_id: str, level: Level) -> tuple[SyncedBlock, ...]:
        """Answers the blocks of the new version, all of them on the page."""
        written = await self._write(page_id, level)
        for gone in level.all_removed():
            if not gone.holds_foreign:
                await self._calls.call("DELETE", f"blocks/{gone.id}", permit=self._writer.permit)
        return tuple(written)

    async def _write(self, parent_id: str, level: Level) -> list[SyncedBlock]:
        written: list[SyncedBlock] = []
        for step in level.steps:
            match step:
                case Added(wanted=new, after=after):
                    made = await self._writer.append(parent_id, [each.block for each in new], after=after)
                    written += await asyncio.to_thread(synced, made)
                case Left(seen=seen):
                    written.append(seen.synced())
                case Kept(seen=seen, wanted=new_one):
                    shown = await self._edit(step) if step.is_edited else seen.shown
                    inside = await self._write(seen.id, step.inside)
                    written.append(SyncedBlock(seen.id, new_one.own, shown, tuple(inside)))
        return written

    async def _edit(self, step: Kept) -> str:
        """Changes a block's own content; answers the hash of what it shows then."""
        kind = step.wanted.block.kind
        body: Json = dict(step.wanted.block.payload[kind])
        if kind in _COLOURED:
            body.setdefault("color", "default")
        if kind in _CAPTIONED:
            body.setdefault("caption", [])
        if kind == "image":
            body.pop("type")
        answer = await self._calls.call(
            "PATCH", f"blocks/{step.seen.id}", body={kind: body}, permit=self._writer.permit
        )
        with reading(writes=True):
            return shown_hash(answer)
