"""What a person can do with generations: start, wait for, find, cancel, repeat and delete them."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from domain.account import Client, User, Viewer
from domain.answer_cache import AnswerCache, CachedAnswer, answer_key, cache_keys_of
from domain.audit import AuditAction, AuditEvent
from domain.budget_service import BudgetService
from domain.errors import (
    AssistantError,
    Conflict,
    InvalidInput,
    NotFound,
    NotionFailed,
    QuotaExceeded,
    Unavailable,
)
from domain.estimate import Estimate, JudgedEstimate, estimated, to_reserve
from domain.fallback import FallbackChooser, checked_fallbacks
from domain.generation import Generation, GenerationStatus, HistoryFilter, HistoryOrder, NewGeneration, Transcript
from domain.generation_feed import GenerationEvent, GenerationFeed
from domain.maintenance import Maintenance
from domain.page import MAX_PAGE_SIZE, Page, PageRequest
from domain.parameter_rules import check_parameters
from domain.pricing import Pricing
from domain.provider import DEMO_PROVIDER_ID, Parameters
from domain.provider_attempt import ProviderAttempt
from domain.provider_catalog import Choice, ProviderCatalog
from domain.publication import NO_ANSWER
from domain.publication_draft import PublicationDraft, PublicationDrafter, PublicationFacts, PublishOptions
from domain.publication_service import PublicationService
from domain.settings import Fallback, UserSettings
from domain.settings_service import MAX_SYSTEM_PROMPT_CHARS
from domain.store import Store
from domain.text import checked_text

IDEMPOTENCY_TTL = timedelta(hours=24)
MAX_IDEMPOTENCY_KEY_CHARS = 200
MAX_IDS = 100
MAX_NAME_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateContent:
    """What is asked for; None leaves the choice to the settings, and then to the server.

    `fallback` are the models to ask when the one asked for is out of order; empty, there are none.
    """

    prompt: str
    provider_id: str | None = None
    model: str | None = None
    system_prompt: str | None = None
    parameters: Parameters = field(default_factory=Parameters)
    fallback: tuple[Fallback, ...] | None = None
    use_cache: bool | None = None
    publish: PublishOptions | None = None
    idempotency_key: str | None = None
    parent_id: UUID | None = None


class Runner(Protocol):
    """Whoever runs what is queued."""

    def wake(self) -> None:
        """There is work."""

    def cancel(self, generation_id: UUID) -> None:
        """Stops a run of this process at once; others find out from the store."""


class GenerationService:
    """A person's generations."""

    def __init__(
        self,
        *,
        store: Store,
        catalog: ProviderCatalog,
        budgets: BudgetService,
        pricing: Pricing,
        answers: AnswerCache | None,
        answers_are_shared: bool,
        publications: PublicationService,
        drafter: PublicationDrafter,
        maintenance: Maintenance,
        feed: GenerationFeed,
        runner: Runner,
        leaving: asyncio.Event,
        clock: Callable[[], datetime],
        new_id: Callable[[], UUID],
        max_prompt_chars: int,
        system_prompt: str | None = None,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._budgets = budgets
        self._pricing = pricing
        self._answers = answers
        self._answers_are_shared = answers_are_shared
        self._publications = publications
        self._drafter = drafter
        self._maintenance = maintenance
        self._feed = feed
        self._runner = runner
        self._leaving = leaving
        self._clock = clock
        self._new_id = new_id
        self._max_prompt_chars = max_prompt_chars
        self._default_system_prompt = system_prompt

    async def start(self, viewer: Viewer, request: GenerateContent) -> Generation:
        """Queues a generation, and its publication with it, and returns at once.

        The same idempotency key gives the same generation for 24 hours. Raises InvalidInput, NotFound (the parent),
        Conflict (the key was used for another input), QuotaExceeded (the budget does not allow it), NotionFailed (the
        page's parent cannot be used), Unavailable (maintenance).
        """
        self._check(request)
        await self._maintenance.check(viewer)
        request_hash = _hash_of(request)
        async with self._store.begin() as tx:
            settings = await tx.settings.get(viewer.user.id)
            if request.parent_id is not None and await tx.generations.find(viewer.user.id, request.parent_id) is None:
                raise NotFound("There is no such generation.", field=("id",))
        if (earlier := await self._find_earlier(viewer, request, request_hash)) is not None:
            return earlier
        choice = await self._catalog.choose(viewer, settings, provider_id=request.provider_id, model_id=request.model)
        check_parameters(request.parameters, choice.model)
        fallback = await self._fallback(viewer, request, settings, choice)
        generation_id, created_at = self._new_id(), self._clock()
        facts = PublicationFacts(
            generation_id=generation_id,
            prompt=request.prompt,
            provider=choice.provider.name,
            model=choice.model.id,
            created_at=created_at,
            is_answered=False,
        )
        draft = await self._draft(viewer, request, settings, facts)
        reserved = to_reserve([self._estimate(request, each, settings) for each in (choice, *fallback)])
        cache_key = self._cache_key(viewer, request, choice, settings)
        answer = None
        # What is repeated on purpose is to be answered anew.
        if self._answers is not None and cache_key is not None and request.parent_id is None:
            answer = await self._kept_answer(self._answers, cache_key)
        generation = NewGeneration(
            id=generation_id,
            user_id=viewer.user.id,
            parent_id=request.parent_id,
            provider_id=choice.provider.id,
            model=choice.model.id,
            parameters=request.parameters.as_json(),
            fallback=tuple(each.ref for each in fallback),
            prompt=request.prompt,
            system_prompt=self._system_prompt(request, settings),
            idempotency_key=request.idempotency_key,
            request_hash=request_hash,
            created_at=created_at,
            reserved=None if answer is not None else reserved or None,
            cache_key=cache_key,
        )
        try:
            async with self._store.begin() as tx:
                if request.idempotency_key is not None:
                    await tx.generations.forget_idempotency_key(
                        viewer.user.id,
                        request.idempotency_key,
                        created_before=generation.created_at - IDEMPOTENCY_TTL,
                    )
                if answer is None:
                    await self._budgets.reserve(tx, viewer.user, reserved, at=generation.created_at)
                    await tx.generations.add(generation)
                else:
                    await tx.generations.add_answered(generation, content=answer.content, reasoning=answer.reasoning)
                if draft is not None:
                    await tx.publications.add(self._publications.pending(draft, viewer, generation.id))
                stored = await tx.generations.find(viewer.user.id, generation.id)
        except (Conflict, QuotaExceeded):
            # The same key came in twice at the same moment, and the other one was first; it may have had the last of
            # the budget too.
            if (earlier := await self._find_earlier(viewer, request, request_hash)) is not None:
                return earlier
            raise
        assert stored is not None  # noqa: S101  (added in this very transaction)
        self._runner.wake()
        return stored

    async def _kept_answer(self, answers: AnswerCache, key: bytes) -> CachedAnswer | None:
        """The answer kept under the key, unless what it was written for has been deleted."""
        answer = await answers.find(key)
        if answer is None:
            return None
        async with self._store.begin() as tx:
            if await tx.generations.exists(answer.generation_id):
                return answer
        await answers.remove([key])
        return None

    async def estimate(self, viewer: Viewer, request: GenerateContent) -> JudgedEstimate:
        """What a request would cost, whoever comes to answer, and whether the budgets would let it run.

        Raises InvalidInput like `start`.
        """
        self._check(request)
        async with self._store.begin() as tx:
            settings = await tx.settings.get(viewer.user.id)
        choice = await self._catalog.choose(viewer, settings, provider_id=request.provider_id, model_id=request.model)
        check_parameters(request.parameters, choice.model)
        choices = (choice, *await self._fallback(viewer, request, settings, choice))
        estimates = tuple(self._estimate(request, each, settings) for each in choices)
        budgets = await self._budgets.budgets_of(viewer.user)
        return JudgedEstimate(
            estimates=estimates,
            is_within_budget=self._budgets.is_admitted(budgets, to_reserve(estimates)),
            budgets=budgets,
        )

    async def wait(self, viewer: Viewer, generation_id: UUID) -> Generation:
        """The generation when it has ended and, if it is published, its page is settled.

        Raises NotFound, RateLimited (too much is watched), Unavailable (this instance ends before).
        """
        async with asyncio.TaskGroup() as group:
            settling = group.create_task(self._until_settled(viewer, generation_id))
            leaving = group.create_task(self._leaving.wait())
            await asyncio.wait((settling, leaving), return_when=asyncio.FIRST_COMPLETED)
            settling.cancel()
            leaving.cancel()
        if settling.cancelled():
            raise Unavailable("The server is about to stop. The generation goes on, and is found in the history.")
        if (failure := settling.result()) is not None:
            raise failure
        return await self.get(viewer, generation_id)

    async def _until_settled(self, viewer: Viewer, generation_id: UUID) -> AssistantError | None:
        """The failure is a result, as raising it would end the task group with a group of exceptions."""
        try:
            async for _ in self.watch(viewer, generation_id, after=None):
                pass
        except AssistantError as failure:
            return failure
        return None

    def watch(self, viewer: Viewer, generation_id: UUID, *, after: str | None) -> AsyncIterator[GenerationEvent]:
        """See GenerationFeed.watch."""
        return self._feed.watch(viewer, generation_id, after=after)

    async def find(self, viewer: Viewer, generation_id: UUID) -> Generation | None:
        """The viewer's generation."""
        async with self._store.begin() as tx:
            return await tx.generations.find(viewer.user.id, generation_id)

    async def find_many(self, viewer: Viewer, generation_ids: Sequence[UUID]) -> dict[UUID, Generation]:
        """Those of the ids that are the viewer's."""
        async with self._store.begin() as tx:
            return await tx.generations.find_many(viewer.user.id, generation_ids)

    async def get(self, viewer: Viewer, generation_id: UUID) -> Generation:
        """The viewer's generation. Raises NotFound."""
        generation = await self.find(viewer, generation_id)
        if generation is None:
            raise NotFound("There is no such generation.", field=("id",))
        return generation

    async def queue_position(self, generation: Generation) -> int | None:
        """Where it stands in line: 1 is next; None when it is not queued (any more)."""
        if generation.status is not GenerationStatus.QUEUED:
            return None
        async with self._store.begin() as tx:
            return await tx.generations.find_queue_position(generation.id)

    async def transcripts(self, viewer: Viewer, generation_ids: Sequence[UUID]) -> dict[UUID, Transcript]:
        """The long texts of those of the ids that are the viewer's."""
        async with self._store.begin() as tx:
            return await tx.generations.list_transcripts(viewer.user.id, generation_ids)

    async def attempts(self, viewer: Viewer, generation_ids: Sequence[UUID]) -> dict[UUID, tuple[ProviderAttempt, ...]]:
        """The calls to providers for those of the ids that are the viewer's, oldest first."""
        async with self._store.begin() as tx:
            return await tx.provider_attempts.list_by_generation(viewer.user.id, generation_ids)

    async def history(
        self, viewer: Viewer, page: PageRequest, *, where: HistoryFilter, order: HistoryOrder
    ) -> Page[Generation]:
        """A page of the viewer's generations. Raises InvalidInput for a search that is blank or too long."""
        _check_filter(where)
        async with self._store.begin() as tx:
            return await tx.generations.list_history(viewer.user.id, page, where=where, order=order)

    async def count_history(self, viewer: Viewer, *, where: HistoryFilter) -> int:
        """How many generations the filter lets through."""
        _check_filter(where)
        async with self._store.begin() as tx:
            return await tx.generations.count_history(viewer.user.id, where=where)

    async def cancel(self, viewer: Viewer, generation_id: UUID) -> Generation:
        """Stops a generation, keeping what is written; one that has ended stays as it is. Raises NotFound."""
        return await self._cancel(viewer.user.id, generation_id)

    async def cancel_all(self, user: User) -> None:
        """Stops all that somebody has queued or running."""
        after: UUID | None = None
        while True:
            async with self._store.begin() as tx:
                page = await tx.generations.list_history(
                    user.id,
                    PageRequest(size=MAX_PAGE_SIZE, after=after),
                    where=HistoryFilter(statuses=frozenset({GenerationStatus.QUEUED, GenerationStatus.RUNNING})),
                    order=HistoryOrder.NEWEST_FIRST,
                )
            for generation in page.items:
                with suppress(NotFound):  # deleted meanwhile
                    await self._cancel(user.id, generation.id)
            if not page.has_next:
                return
            after = page.items[-1].id

    async def _cancel(self, user_id: UUID, generation_id: UUID) -> Generation:
        async with self._store.begin() as tx:
            generation = await tx.generations.request_cancel(user_id, generation_id, now=self._clock())
            if generation is None:
                raise NotFound("There is no such generation.", field=("id",))
            # One that has succeeded meanwhile goes on to be published.
            if generation.status is GenerationStatus.CANCELLED:
                await tx.publications.fail_pending_of(generation_id, NO_ANSWER)
        self._runner.cancel(generation_id)
        return generation

    async def regenerate(
        self,
        viewer: Viewer,
        generation_id: UUID,
        *,
        provider_id: str | None,
        model: str | None,
        idempotency_key: str | None,
    ) -> Generation:
        """Asks the same again, of the same model unless another is named, as its child. Raises like `start`.

        What the demo has written is asked of whoever is asked first by now: the demo only stood in for them.
        """
        original = await self.get(viewer, generation_id)
        transcript = (await self.transcripts(viewer, [generation_id]))[generation_id]
        if provider_id is None and original.provider_id != DEMO_PROVIDER_ID:
            provider_id = original.provider_id
            model = original.model if model is None else model
        return await self.start(
            viewer,
            GenerateContent(
                prompt=transcript.prompt,
                provider_id=provider_id,
                model=model,
                system_prompt=transcript.system_prompt,
                parameters=Parameters.from_json(original.parameters),
                fallback=tuple(Fallback(provider_id=each.provider_id, model=each.model) for each in original.fallback),
                idempotency_key=idempotency_key,
                parent_id=generation_id,
            ),
        )

    async def delete(self, viewer: Viewer, generation_ids: Sequence[UUID], *, client: Client) -> tuple[UUID, ...]:
        """Deletes those that are the viewer's and have ended; pages in Notion stay. Raises InvalidInput."""
        if not 1 <= len(generation_ids) <= MAX_IDS:
            raise InvalidInput(f"Give 1 to {MAX_IDS} ids.", field=("ids",))
        async with self._store.begin() as tx:
            found = await tx.generations.find_many(viewer.user.id, generation_ids)
            deleted = await tx.generations.delete(viewer.user.id, generation_ids)
            await tx.audit.append(
                AuditEvent(
                    action=AuditAction.GENERATIONS_DELETED,
                    actor_id=viewer.user.id,
                    target="generations",
                    ip=client.ip,
                    details={"ids": [str(each) for each in deleted]},
                )
            )
        if self._answers is not None:
            await self._answers.remove(cache_keys_of(found[each] for each in deleted))
        return deleted

    def _check(self, request: GenerateContent) -> None:
        checked_text(request.prompt, field=("prompt",), max_chars=self._max_prompt_chars)
        if request.system_prompt is not None:
            checked_text(request.system_prompt, field=("systemPrompt",), max_chars=MAX_SYSTEM_PROMPT_CHARS)
        if request.model is not None:
            checked_text(request.model, field=("model",), max_chars=MAX_NAME_CHARS)
        if request.provider_id is not None:
            checked_text(request.provider_id, field=("provider",), max_chars=MAX_NAME_CHARS)
        if request.idempotency_key is not None:
            checked_text(request.idempotency_key, field=("idempotencyKey",), max_chars=MAX_IDEMPOTENCY_KEY_CHARS)
        checked_fallbacks(request.fallback or ())

    async def _find_earlier(self, viewer: Viewer, request: GenerateContent, request_hash: bytes) -> Generation | None:
        if request.idempotency_key is None:
            return None
        async with self._store.begin() as tx:
            found = await tx.generations.find_by_idempotency_key(
                viewer.user.id, request.idempotency_key, created_after=self._clock() - IDEMPOTENCY_TTL
            )
        if found is None:
            return None
        earlier, earlier_hash = found
        if earlier_hash != request_hash:
            raise Conflict("This idempotency key was used for another input.", field=("idempotencyKey",))
        return earlier

    def _cache_key(
        self, viewer: Viewer, request: GenerateContent, choice: Choice, settings: UserSettings
    ) -> bytes | None:
        is_wanted = settings.use_cache if request.use_cache is None else request.use_cache
        if self._answers is None or not is_wanted:
            return None
        return answer_key(
            choice.provider,
            choice.model,
            user_id=None if self._answers_are_shared else viewer.user.id,
            prompt=request.prompt,
            system_prompt=self._system_prompt(request, settings),
            parameters=request.parameters,
        )

    def _estimate(self, request: GenerateContent, choice: Choice, settings: UserSettings) -> Estimate:
        return estimated(
            self._pricing,
            choice.provider,
            choice.model,
            prompt=request.prompt,
            system_prompt=self._system_prompt(request, settings),
            parameters=request.parameters,
            reserved_output_tokens=self._budgets.rules.reserved_output_tokens,
            at=self._clock(),
        )

    def _system_prompt(self, request: GenerateContent, settings: UserSettings) -> str | None:
        """The first there is: of the request, of the settings, of the server."""
        choices = (request.system_prompt, settings.system_prompt, self._default_system_prompt)
        return next((each for each in choices if each is not None), None)

    async def _fallback(
        self, viewer: Viewer, request: GenerateContent, settings: UserSettings, choice: Choice
    ) -> tuple[Choice, ...]:
        chooser = FallbackChooser(catalog=self._catalog)
        # What is repeated was chosen some time ago, like the settings.
        choose = chooser.chosen if request.fallback is not None and request.parent_id is None else chooser.usable
        wished = settings.fallback if request.fallback is None else request.fallback
        return await choose(viewer, settings, wished, first=choice, given=request.parameters)

    async def _draft(
        self, viewer: Viewer, request: GenerateContent, settings: UserSettings, facts: PublicationFacts
    ) -> PublicationDraft | None:
        if request.publish is not None:
            return await self._drafter.draft(viewer, request.publish, settings, facts)
        if not settings.notion.auto_publish or request.parent_id is not None:
            return None
        try:
            return await self._drafter.draft(viewer, PublishOptions(), settings, facts)
        except (InvalidInput, NotionFailed) as error:
            # Nothing of the request is wrong.
            error.message = f"Your settings publish every answer (notion.autoPublish): {error.message}"
            error.field = None
            raise


def _check_filter(where: HistoryFilter) -> None:
    if where.search is not None:
        checked_text(where.search, field=("filter", "search"), max_chars=MAX_NAME_CHARS)


def _hash_of(request: GenerateContent) -> bytes:
    """Identifies the input, whatever its idempotency key."""
    content = asdict(replace(request, idempotency_key=None))
    if request.fallback is None:
        del content["fallback"]  # so that the hash is that of an instance which knows nothing of it
    if request.use_cache is None:
        # As it was before there was a choice: a key that is in use while the server is renewed stays good.
        del content["use_cache"]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).digest()
