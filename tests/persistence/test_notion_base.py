"""The blocks that a publication has on its page, kept while the page is known."""

from __future__ import annotations

from domain.account import User
from domain.notion_base import SyncedBlock
from domain.publication import Publication
from persistence.store import PostgresStore
from tests.persistence.samples import LATER, NOW, add_finished, add_publication, claim_publications, new_page

_BLOCKS = (
    SyncedBlock("a", "1", "1"),
    SyncedBlock("b", "2", "3", (SyncedBlock("", "4", "4", (SyncedBlock("", "5", "5"),)), SyncedBlock("c", "6", "7"))),
)


async def _with_page(store: PostgresStore, user: User) -> Publication:
    await add_publication(store, await add_finished(store, user))
    (claimed,) = await claim_publications(store)
    async with store.begin() as tx:
        await tx.publications.record_intent(claimed.id, fence=claimed.fence, now=NOW)
        await tx.publications.record_page(claimed.id, fence=claimed.fence, page=new_page(claimed))
        found = await tx.publications.find(user.id, claimed.id)
    assert found is not None
    return found


async def test_a_base_is_found_as_it_was_recorded_last(store: PostgresStore, ada: User) -> None:
    publication = await _with_page(store, ada)
    assert publication.page is not None
    page = publication.page.id
    async with store.begin() as tx:
        assert await tx.notion_bases.find(publication.id) is None
        assert await tx.notion_bases.list_on_page(page) == {}
        await tx.notion_bases.put(publication.id, notion_page_id=page, blocks=_BLOCKS, now=NOW)
        assert await tx.notion_bases.find(publication.id) == _BLOCKS
        await tx.notion_bases.put(publication.id, notion_page_id=page, blocks=_BLOCKS[:1], now=LATER)
    async with store.begin() as tx:
        assert await tx.notion_bases.list_on_page(page) == {publication.id: _BLOCKS[:1]}


async def test_a_base_outlives_its_publication(store: PostgresStore, ada: User) -> None:
    publication = await _with_page(store, ada)
    assert publication.page is not None
    async with store.begin() as tx:
        await tx.notion_bases.put(publication.id, notion_page_id=publication.page.id, blocks=(), now=NOW)
        await tx.generations.delete(ada.id, [publication.generation_id])
        assert await tx.publications.find(ada.id, publication.id) is None
        assert await tx.notion_bases.list_on_page(publication.page.id) == {publication.id: ()}
