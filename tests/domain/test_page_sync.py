"""When a page has to be read again, and what its reading means."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from uuid_utils.compat import uuid7

from domain.page_sync import PageContent, RemotePage, TrackedPage, read
from domain.publication import NotionPage, NotionPageState, PublicationStatus, PublishMode

NOON = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
OURS, THEIRS, OTHER = (bytes([number]) * 32 for number in range(3))
IN_SYNC, CHANGED_IN_NOTION, CHANGED_HERE, CONFLICT, GONE = NotionPageState
TRACKED = TrackedPage(
    page=NotionPage(
        id=uuid7(),
        user_id=uuid7(),
        page_id="page",
        parent_id=None,
        title="Title",
        url="https://notion.example",
        created_at=NOON,
        last_sync_at=NOON,
        state=IN_SYNC,
    ),
    publication_id=uuid7(),
    generation_id=uuid7(),
    status=PublicationStatus.PUBLISHED,
    mode=PublishMode.CREATE,
    base=1,
    base_fingerprint=OURS,
    notion_fingerprint=OURS,
    edited_at=NOON,
    read_at=NOON + timedelta(minutes=3),
    next_look_at=NOON,
)


def remote(edited_at: datetime) -> RemotePage:
    return RemotePage(
        title="Title", url="", parent_id=None, is_in_trash=False, edited_at=edited_at, edited_by="somebody"
    )


def content(fingerprint: bytes, *, is_only_ours: bool = False, own: bytes | None = None) -> PageContent:
    return PageContent(
        markdown="text",
        fingerprint=fingerprint,
        own_fingerprint=own or fingerprint,
        is_only_ours=is_only_ours,
        blocks=lambda parse: (),
    )


@pytest.mark.parametrize(
    ("change", "edited_at", "needs_reading"),
    [
        ({}, NOON, False),
        ({}, NOON + timedelta(minutes=1), True),
        ({}, NOON - timedelta(minutes=1), True),  # taken out of the trash, or Notion's clock was put right
        ({"edited_at": None}, NOON, True),
        # Read in the same minute, or so soon after it that the clocks may differ by as much: an edit may be hidden.
        ({"read_at": NOON + timedelta(seconds=59)}, NOON, True),
        ({"read_at": NOON + timedelta(minutes=2, seconds=59)}, NOON, True),
    ],
)
def test_the_rounded_time_of_the_last_edit_is_believed_only_once_its_minute_is_over(
    change: dict[str, datetime | None], edited_at: datetime, needs_reading: bool
) -> None:
    tracked = TRACKED
    if "edited_at" in change:
        tracked = replace(tracked, edited_at=change["edited_at"])
    if "read_at" in change:
        tracked = replace(tracked, read_at=change["read_at"])
    assert tracked.needs_reading(remote(edited_at)) is needs_reading


@pytest.mark.parametrize(
    ("base", "last", "now", "is_only_ours", "state", "shown", "is_new"),
    [
        (OURS, OURS, OURS, False, IN_SYNC, 1, False),
        (OURS, OURS, THEIRS, False, CHANGED_IN_NOTION, 6, True),
        (OURS, OURS, THEIRS, True, CHANGED_IN_NOTION, 6, True),
        (OURS, THEIRS, THEIRS, False, CHANGED_IN_NOTION, 4, False),
        (OURS, THEIRS, OTHER, False, CHANGED_IN_NOTION, 6, True),
        (OURS, THEIRS, OURS, False, IN_SYNC, 1, False),
        # The first reading, where a page that says our words would have the fingerprint OURS.
        (None, None, OURS, False, IN_SYNC, 1, False),
        (None, None, THEIRS, False, CHANGED_IN_NOTION, 6, True),
        (None, None, THEIRS, True, IN_SYNC, 1, True),
    ],
)
def test_what_a_reading_means(
    base: bytes | None,
    last: bytes | None,
    now: bytes,
    is_only_ours: bool,
    state: NotionPageState,
    shown: int,
    is_new: bool,
) -> None:
    before = replace(
        TRACKED,
        base_fingerprint=base,
        notion_fingerprint=last,
        page=replace(TRACKED.page, notion_version=4 if last == THEIRS else 1),
    )
    reading = read(before, content(now, is_only_ours=is_only_ours), expected=OURS, newest=5)
    assert (reading.tracked.state, reading.tracked.page.notion_version, reading.is_new) == (state, shown, is_new)
    # Nothing that is here changes by a reading; what was changed here turns it into a conflict.
    assert reading.tracked.page.version == 1
    here = replace(before, page=replace(before.page, version=3))
    mixed = {IN_SYNC: CHANGED_HERE, CHANGED_IN_NOTION: CONFLICT}
    assert read(here, content(now, is_only_ours=is_only_ours), expected=OURS, newest=5).tracked.state is mixed[state]


@pytest.mark.parametrize(
    ("mode", "own", "state", "is_new"),
    [
        (PublishMode.UPDATE, OURS, IN_SYNC, False),
        (PublishMode.UPDATE, OTHER, CHANGED_IN_NOTION, True),
        (PublishMode.CREATE, OURS, CHANGED_IN_NOTION, True),
    ],
)
def test_what_others_have_put_beside_our_blocks_is_no_change_once_we_have_written_there(
    mode: PublishMode, own: bytes, state: NotionPageState, *, is_new: bool
) -> None:
    written = replace(TRACKED, base_fingerprint=None, notion_fingerprint=None, mode=mode)
    reading = read(written, content(THEIRS, own=own), expected=OURS, newest=5)
    assert (reading.tracked.state, reading.is_new) == (state, is_new)
    # What they write next is news.
    next_ = read(reading.tracked, content(OTHER, own=OURS), expected=None, newest=6)
    assert (next_.tracked.state, next_.is_new) == (CHANGED_IN_NOTION, True)
