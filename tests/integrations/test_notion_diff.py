"""What two sequences have in common is found in order, and all of it where little has changed."""

from __future__ import annotations

import random
import time

from hypothesis import given
from hypothesis import strategies as st

from integrations.notion_diff import counterparts, matches


@given(st.lists(st.sampled_from("abcdef"), max_size=30), st.lists(st.sampled_from("abcdef"), max_size=30))
def test_pairs_are_equal_and_ascend(old: list[str], new: list[str]) -> None:
    pairs = matches(old, new)
    assert all(old[place] == new[new_place] for place, new_place in pairs)
    assert pairs == sorted(set(pairs))
    assert [new_place for _, new_place in pairs] == sorted({new_place for _, new_place in pairs})
    assert len(matches(old, old)) == len(old)


@given(st.lists(st.integers(0, 5).map(str), max_size=20), st.integers(0, 20), st.lists(st.just("new"), max_size=3))
def test_what_is_put_in_or_taken_out_at_one_place_is_all_the_difference(
    old: list[str], at: int, put_in: list[str]
) -> None:
    new = old[:at] + put_in + old[at:]
    assert len(matches(old, new)) == len(old)
    assert len(matches(new, old)) == len(old)


@given(st.permutations("abcdef"), st.sets(st.integers(0, 5)))
def test_what_was_edited_has_its_counterpart_and_what_was_moved_has_none(moved: list[str], edited: set[int]) -> None:
    old = list("abcdef")
    retyped = [f"{each} edited" if place in edited else each for place, each in enumerate(old)]
    assert counterparts(old, retyped) == [(place, place) for place in range(6)]
    pairs = counterparts(old, moved)
    assert all(old[place] == moved[new_place] for place, new_place in pairs)
    assert (len(pairs) == len(old)) == (moved == old)


def test_the_counterpart_of_what_is_gone_stands_at_its_place() -> None:
    assert counterparts("abc", "axc") == [(0, 0), (1, 1), (2, 2)]
    assert counterparts("abc", "axyc") == [(0, 0), (1, 1), (2, 3)]
    assert counterparts("abc", "ac") == [(0, 0), (2, 1)]
    assert counterparts("", "a") == counterparts("a", "") == []


def test_long_sequences_take_no_time() -> None:
    rng = random.Random(0)
    old = [str(number) for number in range(30_000)]
    new = sorted(old, key=lambda _: rng.random())
    same = ["same"] * 30_000
    started_at = time.process_time()
    matches(old, new)
    assert len(matches(same, same[:-1])) == len(same) - 1
    matches(["a", *same, "b"] * 2, ["c", *same, "d"] * 2)
    assert time.process_time() - started_at < 20
