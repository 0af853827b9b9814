"""Gets a run its answer: calls its provider, again and elsewhere if need be, and keeps a record of every call."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar, assert_never
from uuid import UUID

from domain.billing import NOTHING, Biller, billed_usage
from domain.circuit_breaker import CircuitBreakers
from domain.errors import ProviderFailed, ProviderFailureReason, Unavailable
from domain.generation import Failure, Transcript
from domain.live_log import LiveLogs
from domain.provider import (
    Finish,
    ModelRef,
    Parameters,
    Provider,
    ProviderRequest,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    UsageReport,
)
from domain.provider_attempt import AttemptStatus, ProviderAttempt, failed_and_followed
from domain.provider_catalog import ProviderCatalog
from domain.retry_policy import Jitter, RetryPolicy
from domain.run import Run
from domain.secret import Secret
from domain.store import Store, Transaction
from domain.telemetry import Telemetry

_log = logging.getLogger(__name__)

T = TypeVar("T")
Reason = ProviderFailureReason

MAX_ANSWER_CHARS = 4_000_000
STORE_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRules:
    """How hard one run tries: `total_seconds` is the time for all its calls and the pauses between them."""

    total_seconds: float
    retries: RetryPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """All that a call needs, and whether another model may be asked when it fails."""

    provider: Provider
    key: Secret | None
    request: ProviderRequest
    is_last_resort: bool

    @property
    def line(self) -> tuple[str, str | None, bytes]:
        """What is reached as one: a provider's endpoint with one key."""
        key = b"" if self.key is None else hashlib.sha256(self.key.reveal().encode()).digest()
        return self.provider.id, self.provider.api_endpoint, key


class ProviderCaller:
    """Calls providers for runs.

    As long as nothing of an answer was shown, a call that fails for a passing reason is made again after a pause, and
    then the models that the request falls back on are asked, in their order.
    """

    def __init__(
        self,
        *,
        store: Store,
        catalog: ProviderCatalog,
        biller: Biller,
        logs: LiveLogs,
        telemetry: Telemetry,
        circuits: CircuitBreakers,
        clock: Callable[[], datetime],
        new_id: Callable[[], UUID],
        rules: CallRules,
        jitter: Jitter = lambda most: random.uniform(0, most),  # noqa: S311  (spreads calls, hides nothing)
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._biller = biller
        self._logs = logs
        self._telemetry = telemetry
        self._circuits = circuits
        self._clock = clock
        self._new_id = new_id
        self._rules = rules
        self._jitter = jitter

    async def answer(self, run: Run) -> None:
        """Writes the answer into the run's log; the last call stays open, to be closed with the run.

        Raises ProviderFailed.
        """
        deadline = asyncio.timeout_at(run.started_at + self._rules.total_seconds)
        try:
            async with deadline:
                await self._answer(run)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise ProviderFailed(
                f"The answer was not whole after {self._rules.total_seconds:g} s. Ask for a shorter one, or try again.",
                reason=Reason.TIMEOUT,
                retryable=True,
            ) from None

    def ended(self, run: Run, status: AttemptStatus, failure: Failure | None) -> ProviderAttempt | None:
        """The run's call as it ended now, with what it cost; None when there was none."""
        attempt, provider, request = run.attempt, run.provider, run.request
        if attempt is None or provider is None or request is None:
            return None
        usage = NOTHING
        if run.is_sent:
            usage = billed_usage(
                request,
                status=status,
                failure=failure,
                reported=attempt.usage,
                text=run.log.text.since(0),
                reasoning=run.log.reasoning.since(0),
            )
        return replace(
            self._biller.priced(attempt, provider, usage),
            status=status,
            finished_at=max(self._clock(), attempt.started_at),
            failure=failure if status is AttemptStatus.FAILED else None,
        )

    async def _answer(self, run: Run) -> None:
        generation = run.generation

        async def read(tx: Transaction) -> Transcript:
            if generation.fence > 1:
                earlier = await tx.provider_attempts.list_by_generation(generation.user_id, [generation.id])
                failed = failed_and_followed(earlier.get(generation.id, ()), generation.status)
                self._note_failed_calls(run, len(failed))
            return (await tx.generations.list_transcripts(generation.user_id, [generation.id]))[generation.id]

        transcript = await self._patiently(read)
        models = (ModelRef(provider_id=generation.provider_id, model=generation.model), *generation.fallback)
        failure: ProviderFailed | None = None
        for place, model in enumerate(models, start=1):
            if run.attempt is not None and failure is not None:
                await self._close_attempt(run, failure)
            found = await self._ask(run, model, transcript, is_last_resort=place == len(models))
            if found is None:
                return
            # That somebody was not even asked says less than how another has failed.
            if failure is None or found.reason is not Reason.CIRCUIT_OPEN:
                failure = found
        assert failure is not None  # noqa: S101  (there is always the model that was asked for)
        raise failure

    async def _ask(
        self, run: Run, model: ModelRef, transcript: Transcript, *, is_last_resort: bool
    ) -> ProviderFailed | None:
        """Gets the answer of one model; else answers why the next one may be asked.

        Raises ProviderFailed for what no other model can make good.
        """
        try:
            call = await self._prepared(run, model, transcript, is_last_resort=is_last_resort)
        except ProviderFailed as failure:
            await self._note_skipped(run, model, failure, is_last_resort=is_last_resort)
            return failure
        retries = 0
        while True:
            try:
                await self._call(run, call)
            except ProviderFailed as failure:
                if failure.reason is Reason.CIRCUIT_OPEN:
                    await self._note_skipped(run, model, failure, is_last_resort=is_last_resort)
                    return failure
                if run.is_shown or not failure.retryable:
                    raise
                pause_seconds = self._pause_after(run, call, failure, retries=retries)
                if pause_seconds is None:
                    return failure
                retries += 1
                await self._close_attempt(run, failure, retry_after=timedelta(seconds=pause_seconds))
                await run.pause(pause_seconds)
            else:
                return None

    async def _prepared(self, run: Run, model: ModelRef, transcript: Transcript, *, is_last_resort: bool) -> _Call:
        found = await self._outlast(lambda: self._catalog.find_provider(model.provider_id))
        if found is None:
            raise ProviderFailed("This provider is no longer offered.", reason=Reason.REJECTED, retryable=False)
        provider = found
        return _Call(
            provider=provider,
            key=await self._outlast(lambda: self._catalog.key_for(run.generation.user_id, provider)),
            request=ProviderRequest(
                model=self._catalog.describe(provider, model.model),
                prompt=transcript.prompt,
                system_prompt=transcript.system_prompt,
                parameters=Parameters.from_json(run.generation.parameters),
                on_sent=run.note_sent,
            ),
            is_last_resort=is_last_resort,
        )

    def _pause_after(self, run: Run, call: _Call, failure: ProviderFailed, *, retries: int) -> float | None:
        if failure.reason is Reason.TIMEOUT and not call.is_last_resort:
            return None  # the person has waited long enough for this one
        pause_seconds = self._rules.retries.pause_seconds(failure, retries=retries, jitter=self._jitter)
        left_seconds = run.started_at + self._rules.total_seconds - asyncio.get_running_loop().time()
        return None if pause_seconds is None or pause_seconds >= left_seconds else pause_seconds

    async def _call(self, run: Run, call: _Call) -> None:
        model_id = call.request.model.id
        with self._circuits.call(call.line, model=model_id, name=call.provider.name) as answered:
            await self._open_attempt(run, call)
            async with self._catalog.adapter_of(call.provider).stream(call.provider, call.key, call.request) as events:
                async for event in events:
                    self._take(run, event, answered)
            if run.finish_reason is None:
                raise ProviderFailed(
                    "The provider's answer broke off before its end.", reason=Reason.TRUNCATED, retryable=True
                )

    def _take(self, run: Run, event: StreamEvent, answered: Callable[[], None]) -> None:
        match event:
            case TextDelta(text):
                run.log.text.append(text)
            case ReasoningDelta(text):
                run.log.reasoning.append(text)
            case UsageReport(usage):
                run.note_usage(usage)
                return
            case Finish(reason):
                run.finish_reason = reason.value
                return
            case _:
                assert_never(event)
        if run.attempt is not None and run.attempt.first_token_ms is None:
            run.note_first_token()
            answered()
            seconds = asyncio.get_running_loop().time() - run.started_at
            self._telemetry.first_token_received(run.attempt.provider_id, seconds=seconds)
        if len(run.log.text) + len(run.log.reasoning) > MAX_ANSWER_CHARS:
            raise ProviderFailed(
                f"The answer grew beyond {MAX_ANSWER_CHARS:,} characters and was stopped.",
                reason=Reason.MALFORMED,
                retryable=False,
            )
        self._logs.notify(run.generation.id)

    async def _open_attempt(self, run: Run, call: _Call) -> None:
        attempt = self._new_attempt(run, provider_id=call.provider.id, model=call.request.model.id)
        # Noted first: whatever stops the run from here on, the row is closed with it.
        run.begin(attempt, call.provider, call.request)
        is_held = await self._patiently(lambda tx: tx.provider_attempts.open(attempt, fence=run.generation.fence))
        if not is_held:
            run.lose()
            await asyncio.sleep(0)  # where the cancellation arrives

    async def _close_attempt(self, run: Run, failure: ProviderFailed, *, retry_after: timedelta | None = None) -> None:
        """Stores at once how the call has failed, so that who waits sees why."""
        ended = self.ended(run, AttemptStatus.FAILED, failure_of(failure))
        if ended is None:
            return
        if retry_after is not None:
            ended = replace(ended, retry_at=self._clock() + retry_after)
        await self._patiently(lambda tx: tx.provider_attempts.close(ended))
        run.attempt = None
        self._note_end(run, ended)
        self._note_failed_calls(run, run.log.failed_calls + 1)

    async def _note_skipped(self, run: Run, model: ModelRef, failure: ProviderFailed, *, is_last_resort: bool) -> None:
        attempt = self._new_attempt(run, provider_id=model.provider_id, model=model.model)

        async def store(tx: Transaction) -> bool:
            providers = {provider.id: provider for provider in await tx.providers.list_all()}
            # A provider that was taken away altogether cannot be told of.
            if (provider := providers.get(model.provider_id)) is None:
                return False
            skipped = replace(
                self._biller.priced(attempt, provider, NOTHING),
                status=AttemptStatus.SKIPPED,
                finished_at=attempt.started_at,
                failure=failure_of(failure),
            )
            is_held = await tx.provider_attempts.open(attempt, fence=run.generation.fence)
            await tx.provider_attempts.close(skipped)
            return is_held

        if await self._patiently(store) and not is_last_resort:
            self._note_failed_calls(run, run.log.failed_calls + 1)
        self._note_end(run, replace(attempt, status=AttemptStatus.SKIPPED, failure=failure_of(failure)))

    def _note_failed_calls(self, run: Run, count: int) -> None:
        run.log.failed_calls = count
        self._logs.notify(run.generation.id)

    def _new_attempt(self, run: Run, *, provider_id: str, model: str) -> ProviderAttempt:
        return ProviderAttempt(
            id=self._new_id(),
            user_id=run.generation.user_id,
            generation_id=run.generation.id,
            provider_id=provider_id,
            model=model,
            started_at=self._clock(),
        )

    def _note_end(self, run: Run, attempt: ProviderAttempt) -> None:
        _log.warning(
            "provider_call_failed",
            extra={
                "generation_id": str(run.generation.id),
                "provider": attempt.provider_id,
                "status": attempt.status.value,
                "reason": None if attempt.failure is None else attempt.failure.reason,
                "is_retried": attempt.retry_at is not None,
            },
        )

    async def _patiently(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """One unit of work."""

        async def whole() -> T:
            async with self._store.begin() as tx:
                return await work(tx)

        return await self._outlast(whole)

    async def _outlast(self, read_or_write: Callable[[], Awaitable[T]]) -> T:
        """What comes of it; a database that is away is waited for, as long as the run has time."""
        while True:
            try:
                return await read_or_write()
            except Unavailable:
                _log.warning("store_unavailable", extra={"action": "call"})
                await asyncio.sleep(STORE_PAUSE_SECONDS)


def failure_of(error: ProviderFailed) -> Failure:
    """As it is stored."""
    return Failure(
        code=error.code,
        message=error.message,
        reason=error.reason.value,
        retry_after_seconds=error.retry_after_seconds,
    )
