"""The growing text: any suffix of what was appended, whatever the pieces."""

import asyncio
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from domain.generation import Cursor
from domain.live_log import GrowingText, LiveLog, LiveLogs

GENERATION = UUID("01890000-0000-7000-8000-000000000001")


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))), st.data())
def test_every_suffix_is_that_of_the_whole(pieces: list[str], data: st.DataObject) -> None:
    text = GrowingText()
    for piece in pieces:
        text.append(piece)
    whole = "".join(pieces)
    offset = data.draw(st.integers(0, len(whole) + 2))
    assert len(text) == len(whole)
    assert text.since(offset) == whole[offset:]


def test_halves_of_a_surrogate_pair_are_joined_across_pieces() -> None:
    text = GrowingText()
    text.append("a\ud83d")
    assert text.since(0) == "a"
    text.append("\ude00b")
    assert text.since(0) == "a😀b"


def test_what_cannot_be_stored_becomes_the_replacement_character() -> None:
    text = GrowingText()
    text.append("a\x00b\ude00c")
    assert text.since(0) == "a\ufffdb\ufffdc"


def test_a_cursor_of_another_epoch_or_beyond_the_end_is_void() -> None:
    log = LiveLog(2)
    log.text.append("hello")
    assert log.beyond(Cursor(epoch=2, text=2)) == (False, "llo", "")
    assert log.beyond(Cursor(epoch=1, text=2)) == (True, "hello", "")
    assert log.beyond(Cursor(epoch=2, text=6)) == (True, "hello", "")
    assert log.beyond(Cursor(epoch=2, reasoning=1)) == (True, "hello", "")


async def test_news_between_listening_and_waiting_is_not_missed() -> None:
    logs = LiveLogs()
    with logs.listen(GENERATION) as news:
        logs.open(GENERATION, epoch=0)
        async with asyncio.timeout(1):
            await news.wait()
        news.clear()
        logs.close(GENERATION)
        async with asyncio.timeout(1):
            await news.wait()
    news.clear()
    logs.notify(GENERATION)
    assert not news.is_set()
