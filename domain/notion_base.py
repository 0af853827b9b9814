"""What is known of a page's blocks since it was last in step: the base that later changes are compared with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from domain.errors import Conflict


@dataclass(frozen=True, slots=True)
class SyncedBlock:
    """A block of ours in Notion: its id there, and hashes of its content without its children.

    `said` is the hash of what was asked for, `shown` that of what Notion then showed. They differ where Notion writes
    things in its own way; so our next version is compared with `said`, and what Notion shows later with `shown`.
    `said` is empty for a block that says nothing, or for which the one around it speaks.
    """

    id: str
    said: str
    shown: str
    children: tuple[SyncedBlock, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where on a page a publication's blocks may be, as far as their ids are not known.

    They are made by the token's own bot, by those that wrote there before (`made_by`), or by the page's maker if it
    `is_our_page`; never among the `others`, which belong to other publications; not `since` before; and behind the
    `anchor`, the last block when the first of ours was asked for. `has_rivals`: another publication may have left
    blocks there whose ids nobody knows.
    """

    is_our_page: bool = True
    others: frozenset[str] = frozenset()
    since: datetime | None = None
    anchor: str | None = None
    has_rivals: bool = False
    made_by: frozenset[str] = frozenset()

    def may_hold(self, made_at: datetime) -> bool:
        """Whether a block that was made then (Notion tells the minute) can be ours."""
        return self.since is None or made_at >= self.since.replace(second=0, microsecond=0)


WHOLE_PAGE: Final = Place()


class PageChanged(Conflict):
    """Somebody has changed in Notion what an update would overwrite; nothing was written."""


def block_ids(blocks: Iterable[SyncedBlock]) -> frozenset[str]:
    """The ids of these blocks and of all that is inside them."""
    found: set[str] = set()
    waiting = list(blocks)
    while waiting:
        block = waiting.pop()
        found.add(block.id)
        waiting += block.children
    return frozenset(found)


class NotionBases(Protocol):
    """The bases: one for each publication, of the blocks that it has on its page."""

    async def find(self, publication_id: UUID) -> tuple[SyncedBlock, ...] | None:
        """A publication's blocks; None when they were never recorded."""

    async def list_on_page(self, notion_page_id: UUID) -> dict[UUID, tuple[SyncedBlock, ...]]:
        """Of a page (by our id) the blocks of each publication that wrote to it, also of those deleted since."""

    async def put(
        self, publication_id: UUID, *, notion_page_id: UUID, blocks: Sequence[SyncedBlock], now: datetime
    ) -> None:
        """Records, or replaces, a publication's blocks on a page (by our id)."""
