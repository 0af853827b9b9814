"""What a person can do with publications: have an answer published, see how it is doing, try again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from math import ceil
from typing import Protocol, assert_never
from uuid import UUID

from domain.account import Viewer
from domain.errors import Conflict, InvalidInput, NotFound
from domain.generation import Generation, GenerationStatus
from domain.maintenance import Maintenance
from domain.page_sync import PageVersion, VersionOrigin, hash_of
from domain.provider_attempt import answered_by
from domain.publication import (
    NotionPage,
    NotionPageState,
    Publication,
    PublicationStatus,
    PublishMode,
    new_page,
)
from domain.publication_answer import who_answered
from domain.publication_draft import (
    PublicationDraft,
    PublicationDrafter,
    PublicationFacts,
    PublicationPreview,
    PublishOptions,
)
from domain.store import Store, Transaction


class PublicationWorker(Protocol):
    """Whoever works the outbox."""

    def wake(self) -> None:
        """There is work."""


class PublicationService:
    """A person's publications."""

    def __init__(
        self,
        *,
        store: Store,
        drafter: PublicationDrafter,
        worker: PublicationWorker,
        maintenance: Maintenance,
        clock: Callable[[], datetime],
        new_id: Callable[[], UUID],
        settling_time: timedelta,
    ) -> None:
        self._store = store
        self._drafter = drafter
        self._worker = worker
        self._maintenance = maintenance
        self._clock = clock
        self._new_id = new_id
        self._settling_time = settling_time

    def pending(self, draft: PublicationDraft, viewer: Viewer, generation_id: UUID) -> Publication:
        """The outbox row of a draft."""
        now = self._clock()
        return Publication(
            id=self._new_id(),
            generation_id=generation_id,
            user_id=viewer.user.id,
            status=PublicationStatus.PENDING,
            parent=draft.parent,
            title=draft.title,
            properties=draft.properties,
            external_id_property=draft.external_id_property,
            mode=draft.mode,
            anchor=None,
            overwrites=False,
            requested_at=None,
            completed_at=None,
            page=None,
            failure=None,
            degraded=(),
            attempts=0,
            fence=0,
            next_attempt_at=now,
            created_at=now,
        )

    async def publish(self, viewer: Viewer, generation_id: UUID, options: PublishOptions) -> Publication:
        """Queues the publication of an answer, or another try of one that has failed.

        A try goes on as it was first asked for, unless that has surely made nothing: then other options count.
        To update brings the page of a published answer to what counts here now; an answer that was regenerated from a
        published one takes its place, page and all. Raises NotFound, Conflict (no answer, or published already),
        Unavailable (maintenance), and like PublicationDrafter.draft.
        """
        await self._maintenance.check(viewer)
        async with self._store.begin() as tx:
            await _hold_answer(tx, viewer, generation_id)
            earlier = (await tx.publications.list_by_generation([generation_id])).get(generation_id)
        if earlier is not None and earlier.has_failed and options.are_of_a_page:
            if earlier.is_void and options.mode is not PublishMode.UPDATE:
                options = replace(options, parent=options.parent or earlier.parent.id)
                return await self._drafted(viewer, generation_id, options, earlier)
            await self._check_place(viewer, options, earlier)
        async with self._store.begin() as tx:
            publication = await self._repeated(tx, viewer, generation_id, options)
            if publication is None and options.mode is PublishMode.UPDATE:
                publication = await self._taken_over(tx, viewer, generation_id, options)
        if publication is None:
            return await self._drafted(viewer, generation_id, options, None)
        self._worker.wake()
        return publication

    async def resolve(self, viewer: Viewer, generation_id: UUID, page: str | None) -> Publication:
        """Goes on with a publication whose page may exist: that is this one (any Notion URL or id), or there is none.

        Raises NotFound, Conflict when nothing is unclear or the page may still come, Unavailable (maintenance), and
        like PublicationDrafter.find_page.
        """
        await self._maintenance.check(viewer)
        async with self._store.begin() as tx:
            await _hold_answer(tx, viewer, generation_id)
            earlier = (await tx.publications.list_by_generation([generation_id])).get(generation_id)
        if earlier is None or not earlier.may_have_page or not earlier.status.is_settled:
            raise Conflict("Of this answer's publication nothing is unclear.", field=("resolve",))
        now = self._clock()
        settles_at = earlier.settles_at(self._settling_time, now=now)
        if page is None and settles_at is not None:
            raise Conflict(
                "Notion may still be at work on what was sent last, and the page may come: look once more after "
                f"{settles_at:%H:%M:%S} UTC.",
                field=("resolve", "createAnew"),
                retry_after_seconds=ceil((settles_at - now).total_seconds()),
            )
        found = None if page is None else await self._drafter.find_page(viewer, page, earlier)
        now = self._clock()
        async with self._store.begin() as tx:
            if found is not None and await tx.publications.list_known_page_ids([found.page_id]):
                raise Conflict("This is the page of another answer.", field=("resolve", "page"))
            known = None if found is None else new_page(found, earlier, row_id=self._new_id(), now=now)
            if not await tx.publications.resolve(earlier.id, fence=earlier.fence, page=known, now=now):
                raise Conflict("Of this answer's publication nothing is unclear any more.", field=("resolve",))
            resolved = await tx.publications.find(viewer.user.id, earlier.id)
        if resolved is None:
            raise NotFound("There is no such publication.", field=("generationId",))
        self._worker.wake()
        return resolved

    async def _drafted(
        self, viewer: Viewer, generation_id: UUID, options: PublishOptions, earlier: Publication | None
    ) -> Publication:
        """The publication as it is asked for now, in the place of an earlier one if there is any."""
        async with self._store.begin() as tx:
            settings = await tx.settings.get(viewer.user.id)
            facts, _ = await _facts(tx, viewer, generation_id)
        draft = await self._drafter.draft(viewer, options, settings, facts)
        publication = self.pending(draft, viewer, generation_id)
        async with self._store.begin() as tx:
            await _hold_answer(tx, viewer, generation_id)
            if earlier is None:
                await tx.publications.add(publication)
            else:
                publication = replace(publication, id=earlier.id, created_at=earlier.created_at)
                if not await tx.publications.ask_anew(publication):
                    raise Conflict("Somebody else has just asked for this once more.", field=("generationId",))
        self._worker.wake()
        return publication

    async def _check_place(self, viewer: Viewer, options: PublishOptions, earlier: Publication) -> None:
        """Raises Conflict when a publication that may have a page is to go elsewhere."""
        if options.parent is None:
            return
        parent = await self._drafter.find_parent(viewer, options.parent)
        if parent.id != earlier.parent.id:
            raise Conflict(
                "The page may exist already where it was first asked for, so it cannot go elsewhere.",
                field=("publish", "parent"),
            )

    async def preview(self, viewer: Viewer, generation_id: UUID, options: PublishOptions) -> PublicationPreview:
        """What `publish` would do, without doing it. Raises NotFound, and Conflict for what is not to be published."""
        async with self._store.begin() as tx:
            await _hold_answer(tx, viewer, generation_id)
            earlier = (await tx.publications.list_by_generation([generation_id])).get(generation_id)
            settings = await tx.settings.get(viewer.user.id)
            facts, content = await _facts(tx, viewer, generation_id)
        if earlier is not None:
            raise Conflict("This answer has a publication already.", field=("generationId",))
        return await self._drafter.preview(viewer, options, settings, facts, content)

    async def by_generation(self, viewer: Viewer, generation_ids: Sequence[UUID]) -> dict[UUID, Publication]:
        """The publications of these generations, as far as they are the viewer's."""
        async with self._store.begin() as tx:
            found = await tx.publications.list_by_generation(generation_ids)
        return {key: each for key, each in found.items() if each.user_id == viewer.user.id}

    async def find(self, viewer: Viewer, publication_id: UUID) -> Publication | None:
        """The viewer's publication."""
        async with self._store.begin() as tx:
            return await tx.publications.find(viewer.user.id, publication_id)

    async def find_page(self, viewer: Viewer, page_row_id: UUID) -> NotionPage | None:
        """The viewer's page, by our id."""
        async with self._store.begin() as tx:
            return await tx.publications.find_page(viewer.user.id, page_row_id)

    async def _repeated(
        self, tx: Transaction, viewer: Viewer, generation_id: UUID, options: PublishOptions
    ) -> Publication | None:
        """The publication of the generation, on its way again if it had failed; None when it has none yet."""
        await _hold_answer(tx, viewer, generation_id)
        earlier = (await tx.publications.list_by_generation([generation_id])).get(generation_id)
        if earlier is None:
            return None
        match earlier.status:
            case PublicationStatus.PUBLISHED if options.mode is PublishMode.UPDATE:
                await tx.publications.update_again(earlier.id, now=self._clock(), overwrites=options.overwrites)
                return await tx.publications.find(viewer.user.id, earlier.id)
            case PublicationStatus.PUBLISHED:
                raise Conflict(
                    "This answer is published already; its page can be brought up to date with the mode UPDATE.",
                    field=("generationId",),
                )
            case PublicationStatus.PENDING | PublicationStatus.PUBLISHING:
                return earlier
            case PublicationStatus.FAILED | PublicationStatus.NEEDS_ATTENTION:
                # Safe also when it is not clear whether the page exists: every attempt looks before it repeats.
                await tx.publications.retry(earlier.id, now=self._clock(), overwrites=options.overwrites)
                return await tx.publications.find(viewer.user.id, earlier.id)
            case _:
                assert_never(earlier.status)

    async def _taken_over(
        self, tx: Transaction, viewer: Viewer, generation_id: UUID, options: PublishOptions
    ) -> Publication | None:
        """The publication of the answer that this one was regenerated from, now to show this one."""
        answer = await tx.generations.find(viewer.user.id, generation_id)
        if answer is None or answer.status is not GenerationStatus.SUCCEEDED:
            raise Conflict("Only a complete answer can take the place of another.", field=("generationId",))
        earlier = await tx.publications.find_to_update(viewer.user.id, generation_id)
        if earlier is None or earlier.page is None:
            raise InvalidInput(
                "Neither this answer nor one that it was regenerated from is published.", field=("publish", "mode")
            )
        if earlier.status is not PublicationStatus.PUBLISHED:
            raise Conflict("The page is not completely written yet: see to that first.", field=("generationId",))
        if earlier.page.is_ours:
            await self._add_version(tx, viewer, earlier.page.id, answer)
        now = self._clock()
        await tx.publications.hand_over(earlier.id, generation_id=generation_id)
        await tx.publications.update_again(earlier.id, now=now, overwrites=options.overwrites)
        return await tx.publications.find(viewer.user.id, earlier.id)

    async def _add_version(self, tx: Transaction, viewer: Viewer, page_row_id: UUID, answer: Generation) -> None:
        """From now on this answer counts as the page's text."""
        held = await tx.tracked_pages.hold(page_row_id)
        if held is None:
            return
        transcripts = await tx.generations.list_transcripts(viewer.user.id, [answer.id])
        content = transcripts[answer.id].content
        attempts = await tx.provider_attempts.list_by_generation(viewer.user.id, [answer.id])
        version = PageVersion(
            id=self._new_id(),
            page_row_id=page_row_id,
            number=await tx.tracked_pages.newest_number(page_row_id) + 1,
            origin=VersionOrigin.ANSWER,
            content_hash=hash_of(content),
            made_by=":".join(answered_by(answer, attempts.get(answer.id, ()))),
            created_at=self._clock(),
        )
        await tx.tracked_pages.add_version(replace(held, generation_id=answer.id), version, content)
        page = replace(held.page, version=version.number, state=NotionPageState.CHANGED_HERE)
        await tx.tracked_pages.put(replace(held, page=page))


async def _facts(tx: Transaction, viewer: Viewer, generation_id: UUID) -> tuple[PublicationFacts, str]:
    """What is known of a generation, and what it has written. Raises NotFound."""
    generation = await tx.generations.find(viewer.user.id, generation_id)
    if generation is None:
        raise NotFound("There is no such generation.", field=("generationId",))
    transcript = (await tx.generations.list_transcripts(viewer.user.id, [generation_id]))[generation_id]
    provider_name, model = await who_answered(tx, generation)
    facts = PublicationFacts(
        generation_id=generation_id,
        prompt=transcript.prompt,
        provider=provider_name,
        model=model,
        created_at=generation.created_at,
        is_answered=generation.status is GenerationStatus.SUCCEEDED,
    )
    return facts, transcript.content


async def _hold_answer(tx: Transaction, viewer: Viewer, generation_id: UUID) -> None:
    """Sees to it that the generation cannot end without an answer, or be deleted, before the transaction has ended.

    Otherwise its publication would wait forever. Raises NotFound, and Conflict when it has ended so already.
    """
    status = await tx.generations.hold_status(viewer.user.id, generation_id)
    if status is None:
        raise NotFound("There is no such generation.", field=("generationId",))
    if status.is_final and status is not GenerationStatus.SUCCEEDED:
        raise Conflict("Only a complete answer can be published.", field=("generationId",))
