"""Which parts of two sequences are the same and in the same order: what an update may leave alone."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

_Pair = tuple[int, int]

# Above this many comparisons a stretch without anything unique is not looked through: what is equal there is then
# written anew, which is right, though not sparing.
_MAX_COMPARISONS: Final = 250_000


def matches(old: Sequence[Hashable], new: Sequence[Hashable]) -> list[_Pair]:
    """Pairs of places at which both are equal, ascending in both: equal ends, then what is unique, then the rest."""
    found: list[_Pair] = []
    stretches = [(0, len(old), 0, len(new))]
    while stretches:
        start, end, new_start, new_end = stretches.pop()
        while start < end and new_start < new_end and old[start] == new[new_start]:
            found.append((start, new_start))
            start, new_start = start + 1, new_start + 1
        while start < end and new_start < new_end and old[end - 1] == new[new_end - 1]:
            end, new_end = end - 1, new_end - 1
            found.append((end, new_end))
        if start == end or new_start == new_end:
            continue
        anchors = _unique(old, new, start, end, new_start, new_end)
        if not anchors:
            found += _rest(old[start:end], new[new_start:new_end], start, new_start)
            continue
        before, new_before = start, new_start
        for place, new_place in [*anchors, (end, new_end)]:
            stretches.append((before, place, new_before, new_place))
            before, new_before = place, new_place
    return sorted(set(found))


def counterparts(old: Sequence[Hashable], new: Sequence[Hashable]) -> list[_Pair]:
    """Pairs of places of one thing, ascending in both: what is equal, and between that what took the place of another.

    What is on both sides and not at its place was moved, and has no counterpart.
    """
    pairs = matches(old, new)
    moved = set(_without(old, {place for place, _ in pairs})) & set(_without(new, {place for _, place in pairs}))
    found: list[_Pair] = []
    start = new_start = 0
    for place, new_place in [*pairs, (len(old), len(new))]:
        gone = [at for at in range(start, place) if old[at] not in moved]
        come = [at for at in range(new_start, new_place) if new[at] not in moved]
        found += [*zip(gone, come, strict=False), (place, new_place)]
        start, new_start = place + 1, new_place + 1
    return found[:-1]


def _without(sequence: Sequence[Hashable], places: set[int]) -> Iterator[Hashable]:
    return (each for place, each in enumerate(sequence) if place not in places)


def _unique(
    old: Sequence[Hashable], new: Sequence[Hashable], start: int, end: int, new_start: int, new_end: int
) -> list[_Pair]:
    """The longest ascending list of pairs of what occurs once on either side."""
    counts, new_counts = Counter(old[start:end]), Counter(new[new_start:new_end])
    places = {new[place]: place for place in range(new_start, new_end)}
    pairs = [
        (place, places[old[place]])
        for place in range(start, end)
        if counts[old[place]] == 1 and new_counts[old[place]] == 1
    ]
    return _ascending(pairs)


def _ascending(pairs: list[_Pair]) -> list[_Pair]:
    """The longest part of pairs, ascending in the first, that ascends in the second as well."""
    ends: list[int] = []
    holders: list[int] = []
    before: list[int] = []
    for index, (_, new_place) in enumerate(pairs):
        at = bisect_left(ends, new_place)
        before.append(holders[at - 1] if at else -1)
        if at == len(ends):
            ends.append(new_place)
            holders.append(index)
        else:
            ends[at], holders[at] = new_place, index
    chosen: list[_Pair] = []
    index = holders[-1] if holders else -1
    while index >= 0:
        chosen.append(pairs[index])
        index = before[index]
    return chosen[::-1]


def _rest(old: Sequence[Hashable], new: Sequence[Hashable], start: int, new_start: int) -> Iterator[_Pair]:
    if len(old) * len(new) > _MAX_COMPARISONS:
        return
    for block in SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks():
        yield from ((start + block.a + n, new_start + block.b + n) for n in range(block.size))
