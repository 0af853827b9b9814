"""The blocks that publications have on their pages, as they were when last in step."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from domain.notion_base import SyncedBlock
from persistence.statements import Statements
from persistence.tables import notion_bases, notion_pages

# A block as it is stored: id, said, shown (null when the same) and, if there are any, its children.
_Stored = list[Any]  # Any: JSON


class PostgresNotionBases:
    """Behind the port NotionBases. A page of a megabyte has tens of thousands of blocks: threads take them apart."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def find(self, publication_id: UUID) -> tuple[SyncedBlock, ...] | None:
        """A publication's blocks; None when they were never recorded."""
        row = await self._statements.row(
            select(notion_bases.c.blocks).where(notion_bases.c.publication_id == publication_id)
        )
        return None if row is None else await asyncio.to_thread(_blocks_of, row["blocks"])

    async def list_on_page(self, notion_page_id: UUID) -> dict[UUID, tuple[SyncedBlock, ...]]:
        """Of a page (by our id) the blocks of each publication that wrote to it, also of those deleted since."""
        this = notion_pages.alias("this")
        rows = await self._statements.rows(
            select(notion_bases.c.publication_id, notion_bases.c.blocks)
            .join_from(notion_bases, notion_pages, notion_pages.c.id == notion_bases.c.notion_page_id)
            .join(this, this.c.page_id == notion_pages.c.page_id)
            .where(this.c.id == notion_page_id)
        )
        return {row["publication_id"]: await asyncio.to_thread(_blocks_of, row["blocks"]) for row in rows}

    async def put(
        self, publication_id: UUID, *, notion_page_id: UUID, blocks: Sequence[SyncedBlock], now: datetime
    ) -> None:
        """Records, or replaces, a publication's blocks on a page (by our id)."""
        stored = await asyncio.to_thread(_stored, blocks)
        values = {"notion_page_id": notion_page_id, "blocks": stored, "recorded_at": now}
        await self._statements.change(
            insert(notion_bases)
            .values(publication_id=publication_id, **values)
            .on_conflict_do_update(index_elements=[notion_bases.c.publication_id], set_=values)
        )


def _stored(blocks: Iterable[SyncedBlock]) -> list[_Stored]:
    return [
        [
            block.id,
            block.said,
            None if block.shown == block.said else block.shown,
            *([_stored(block.children)] if block.children else []),
        ]
        for block in blocks
    ]


def _blocks_of(stored: Iterable[_Stored]) -> tuple[SyncedBlock, ...]:
    return tuple(
        SyncedBlock(block_id, said, said if shown is None else shown, _blocks_of(inside[0]) if inside else ())
        for block_id, said, shown, *inside in stored
    )
