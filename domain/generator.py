"""Runs what is queued: claims generations, streams them from their providers, keeps what arrives, ends them once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from domain.answer_cache import AnswerCache, CachedAnswer
from domain.billing import Biller
from domain.errors import AssistantError, ErrorCode, ProviderFailed, Unavailable
from domain.generation import (
    INTERRUPTED_RUN,
    Chunk,
    Failure,
    Generation,
    GenerationStatus,
    Outcome,
    RecoveryPolicy,
)
from domain.generation_feed import COALESCE_SECONDS
from domain.live_log import LiveLogs
from domain.provider import FinishReason
from domain.provider_attempt import AttemptStatus, ProviderAttempt
from domain.provider_caller import ProviderCaller
from domain.publication import NO_ANSWER
from domain.publication_service import PublicationWorker
from domain.run import Run
from domain.store import Store
from domain.telemetry import Telemetry
from domain.token_bus import TokenBus
from domain.worker import Round

_log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
FLUSH_SECONDS = 0.3
CANCEL_POLL_SECONDS = 0.5
LEASE = timedelta(seconds=15)
_RENEWALS_PER_LEASE = 4
FLUSH_PATIENCE_SECONDS = 1.0
MAX_FINISH_RETRY_SECONDS = 5.0
_CRASHED = Failure(code=ErrorCode.INTERNAL, message="The server failed while the answer was written.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLimits:
    """How much may run at the same time: in this process, and of one user in all of them."""

    max_running: int
    max_running_per_user: int


class Generator:
    """The worker that owns running generations, one per instance. A client's coming and going means nothing to it."""

    def __init__(
        self,
        *,
        store: Store,
        caller: ProviderCaller,
        biller: Biller,
        publisher: PublicationWorker,
        logs: LiveLogs,
        answers: AnswerCache | None,
        bus: TokenBus | None,
        telemetry: Telemetry,
        clock: Callable[[], datetime],
        limits: RunLimits,
        recovery: RecoveryPolicy,
        owner: str,
        lease: timedelta = LEASE,
    ) -> None:
        self._store = store
        self._caller = caller
        self._biller = biller
        self._publisher = publisher
        self._logs = logs
        self._answers = answers
        self._bus = bus
        self._telemetry = telemetry
        self._clock = clock
        self._limits = limits
        self._recovery = recovery
        self._owner = owner
        self._lease = lease
        self._runs: dict[UUID, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()
        self._leaving = asyncio.Event()
        # Held while work is taken: what somebody has begun to take is running when they let go.
        self._claiming = asyncio.Lock()
        # Held while the rows of all runs are locked, for what passes over locked ones is not to meet its own kind.
        self._storing = asyncio.Lock()
        # Until then (in the loop's time) a lease that has ended proves nothing: its owner could not renew it.
        self._outage_forgiven_at = 0.0
        self._looked_for_abandoned_at: datetime | None = None

    @property
    def running_count(self) -> int:
        """How many generations this process is running."""
        return len(self._runs)

    def wake(self) -> None:
        """There is work."""
        self._news.set()

    def cancel(self, generation_id: UUID) -> None:
        """Stops a run of this process at once."""
        self._logs.notify(generation_id)
        if (run := self._runs.get(generation_id)) is not None:
            run.stop(GenerationStatus.CANCELLED)

    async def run(self) -> None:
        """Works until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat(self._flush, FLUSH_SECONDS))
            group.create_task(self._repeat(self._renew_leases, self._lease.total_seconds() / _RENEWALS_PER_LEASE))
            group.create_task(self._repeat(self._heed_cancellations, CANCEL_POLL_SECONDS))
            group.create_task(self._repeat(self._recover_abandoned, POLL_SECONDS))
            if self._bus is not None:
                group.create_task(self._repeat(self._publish, COALESCE_SECONDS))
            while True:
                self._news.clear()
                async with self._claiming:
                    for generation in await self._claim():
                        task = group.create_task(self._execute(generation))
                        self._tasks.add(task)
                        task.add_done_callback(self._ended)
                try:
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._news.wait()
                except TimeoutError:
                    continue

    async def drain(self, *, timeout_seconds: float) -> None:
        """Takes no more work, lets the running generations end, and interrupts those that take too long.

        Those that wait to call their provider again are given back at once.
        """
        self._leaving.set()
        async with self._claiming:
            tasks = tuple(self._tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_seconds)
        for run in self._runs.values():
            run.stop(GenerationStatus.INTERRUPTED)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=MAX_FINISH_RETRY_SECONDS)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._news.set()

    async def _repeat(self, action: Callable[[], Any], interval_seconds: float) -> None:
        """Calls the action for ever; a database that is away for a while is waited for."""
        while True:
            await asyncio.sleep(interval_seconds)
            with Round(getattr(action, "__name__", "")) as this:
                await action()
            if isinstance(this.error, Unavailable):
                self._forgive()

    def _forgive(self) -> None:
        self._outage_forgiven_at = asyncio.get_running_loop().time() + self._lease.total_seconds()

    async def _claim(self) -> tuple[Generation, ...]:
        free = self._limits.max_running - len(self._tasks)
        if free <= 0 or self._leaving.is_set():
            return ()
        with Round("claim") as this:
            async with self._store.begin() as tx:
                return await tx.generations.claim(
                    size=free,
                    per_user=self._limits.max_running_per_user,
                    owner=self._owner,
                    now=self._clock(),
                    lease=self._lease,
                )
        if isinstance(this.error, Unavailable):
            self._forgive()
        return ()

    async def _execute(self, generation: Generation) -> None:
        """Runs it to its end; what a fault leaves behind is recovered when its lease has ended."""
        with Round("execute"):
            await self._run_to_end(generation)

    async def _run_to_end(self, generation: Generation) -> None:
        loop = asyncio.get_running_loop()
        run = Run(
            generation=generation,
            log=self._logs.open(generation.id, epoch=generation.epoch),
            started_at=loop.time(),
            leaving=self._leaving,
        )
        if (earlier := self._runs.get(generation.id)) is not None:
            # This process has slept past its own lease, and has claimed anew what it was running.
            earlier.lose()
        self._runs[generation.id] = run
        self._telemetry.generation_started(generation.provider_id)
        try:
            try:
                async with asyncio.TaskGroup() as group:
                    # A task of its own, so that a cancellation ends the provider's stream and not this run.
                    run.task = group.create_task(self._caller.answer(run))
            except* AssistantError as errors:
                run.failure = _failure_of(errors)
            except* Exception:  # noqa: BLE001  (the person must see an end, and the operator the fault)
                _log.exception("generation_crashed", extra={"generation_id": str(generation.id)})
                run.failure = _CRASHED
            if not run.is_lost:
                # First, so that whoever has seen the end and asks the same again finds it.
                with Round("keep"):
                    await self._keep(run)
                await self._finish(run)
            if run.is_lost:
                self._note_loss(run)
                await self._forget(run)
                return
        finally:
            if self._runs.get(generation.id) is run:
                del self._runs[generation.id]
                self._logs.close(generation.id)
        await self._send([*run.chunks_after(run.published), run.end_chunk()])

    async def _keep(self, run: Run) -> None:
        """Keeps a complete answer for the same request coming again, if that is wanted."""
        key = run.generation.cache_key
        # An answer that was cut short, refused or stopped is not what the next one should get.
        is_complete = run.finish_reason == FinishReason.STOP and run.failure is None
        asked, attempt = run.generation, run.attempt
        # Nor is that of another model, to which the request has fallen back.
        is_by_asked = attempt is not None and (attempt.provider_id, attempt.model) == (asked.provider_id, asked.model)
        if self._answers is not None and key is not None and is_complete and is_by_asked:
            answer = CachedAnswer(
                generation_id=asked.id, content=run.log.text.since(0), reasoning=run.log.reasoning.since(0)
            )
            await self._answers.put(key, answer)

    async def _forget(self, run: Run) -> None:
        """Its user may have been deleted meanwhile; another owner of the run keeps what that one gets."""
        if self._answers is not None and run.generation.cache_key is not None:
            await self._answers.remove([run.generation.cache_key])

    async def _finish(self, run: Run) -> None:
        """Stores the end of the run, however long the database is away: nothing that was shown may be lost.

        An end that cannot be stored becomes a failure, for which nothing counts that the provider has told; if that
        cannot be stored either, the run is left to the recovery.
        """
        pause_seconds, is_refused = FLUSH_SECONDS, False
        while not run.is_lost:
            try:
                if await self._try_finish(run):
                    return
            except Unavailable:
                _log.warning("store_unavailable", extra={"action": "finish"})
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, MAX_FINISH_RETRY_SECONDS)
            except Exception:  # noqa: BLE001  (it must not end the server's other runs; it is logged whole)
                if is_refused:
                    _log.error("generation_end_lost", extra={"generation_id": str(run.generation.id)})
                    run.is_lost = True
                    return
                _log.exception("generation_end_refused", extra={"generation_id": str(run.generation.id)})
                is_refused = True
                run.spoil(_CRASHED)
                with Round("forget"):
                    await self._forget(run)

    def _note_loss(self, run: Run) -> None:
        generation = run.generation
        _log.warning("generation_superseded", extra={"generation_id": str(generation.id)})
        seconds = asyncio.get_running_loop().time() - run.started_at
        self._telemetry.generation_finished(generation.provider_id, status="SUPERSEDED", seconds=seconds)

    async def _try_finish(self, run: Run) -> bool:
        generation = run.generation
        status, failure = self._end_of(run)
        async with self._store.begin() as tx:
            if status is None and not await tx.generations.release(generation.id, fence=generation.fence):
                # Somebody wants it to stop, unless another owns it by now, which is found out next.
                status = GenerationStatus.CANCELLED
            if status is not None:
                outcome = _outcome_of(run, status, failure)
                if not await tx.generations.finish(
                    generation.id, fence=generation.fence, outcome=outcome, now=self._clock()
                ):
                    run.is_lost = True
                    return False
                if status is not GenerationStatus.SUCCEEDED:
                    await tx.publications.fail_pending_of(generation.id, NO_ANSWER)
            attempt = self._ended_attempt(run, status, failure)
            if attempt is not None:
                await tx.provider_attempts.close(attempt)
        name = "RELEASED" if status is None else status.value
        seconds = asyncio.get_running_loop().time() - run.started_at
        self._telemetry.generation_finished(generation.provider_id, status=name, seconds=seconds)
        if attempt is not None and attempt.usage is not None:
            self._telemetry.tokens_used(
                attempt.provider_id,
                input_tokens=attempt.usage.input_tokens,
                output_tokens=attempt.usage.output_tokens,
            )
        _log.info(
            "generation_finished",
            extra={
                "generation_id": str(generation.id),
                "provider": generation.provider_id,
                "status": name,
                "reason": None if failure is None else failure.reason,
                "duration_seconds": round(seconds, 3),
            },
        )
        self._publisher.wake()
        return True

    def _end_of(self, run: Run) -> tuple[GenerationStatus | None, Failure | None]:
        """How the run ends; without a status when it is interrupted and to start again."""
        if run.finish_reason is not None and run.failure is None:
            return GenerationStatus.SUCCEEDED, None
        if run.failure is not None and run.stopped_as is None:
            return GenerationStatus.FAILED, run.failure
        if run.stopped_as is GenerationStatus.INTERRUPTED:
            if self._recovery.restarts_shown or not run.is_shown:
                return None, None
            return GenerationStatus.INTERRUPTED, INTERRUPTED_RUN
        return GenerationStatus.CANCELLED, None

    def _ended_attempt(
        self, run: Run, status: GenerationStatus | None, failure: Failure | None
    ) -> ProviderAttempt | None:
        """The call that ends with the run, if there is one."""
        ending = AttemptStatus.INTERRUPTED if status is None else AttemptStatus(status.value)
        return self._caller.ended(run, ending, failure)

    async def _flush(self) -> None:
        """Stores what has arrived since the last time, of all runs in one statement."""
        chunks = [chunk for run in self._runs.values() for chunk in run.chunks_after(run.flushed)]
        if not chunks:
            return
        async with self._store.begin() as tx, self._storing:
            appended = await tx.generations.append_chunks(chunks)
        for chunk in chunks:
            run_now = self._runs.get(chunk.generation_id)
            if run_now is None or run_now.generation.fence != chunk.fence:
                continue  # ended meanwhile, and stored as a whole
            if chunk.generation_id in appended.stored:
                run_now.flushed[chunk.kind] = chunk.offset + len(chunk.text)
            elif chunk.generation_id not in appended.held:
                run_now.lose()

    async def _publish(self) -> None:
        """Sends what has arrived since the last time to the other instances; what the bus loses they read elsewhere."""
        chunks = []
        for run in self._runs.values():
            for chunk in run.chunks_after(run.published):
                run.published[chunk.kind] = chunk.offset + len(chunk.text)
                chunks.append(chunk)
        await self._send(chunks)

    async def _send(self, chunks: Sequence[Chunk]) -> None:
        if self._bus is None or not chunks:
            return
        with suppress(Unavailable):
            await self._bus.publish(chunks)

    @asynccontextmanager
    async def _storing_in_time(self) -> AsyncIterator[None]:
        """Waits for a flush, but not for one that hangs: whose row is passed over keeps the lease that it has."""
        try:
            async with asyncio.timeout(FLUSH_PATIENCE_SECONDS):
                await self._storing.acquire()
        except TimeoutError:
            yield
            return
        try:
            yield
        finally:
            self._storing.release()

    async def _renew_leases(self) -> None:
        fences = {run.generation.id: run.generation.fence for run in self._runs.values()}
        if not fences:
            return
        async with self._store.begin() as tx, self._storing_in_time():
            held = await tx.generations.renew_leases(fences, lease=self._lease)
        for generation_id in fences.keys() - held:
            run = self._runs.get(generation_id)
            if run is not None and run.generation.fence == fences[generation_id]:
                run.lose()

    async def _heed_cancellations(self) -> None:
        if not self._runs:
            return
        async with self._store.begin() as tx:
            cancelled = await tx.generations.list_cancel_requested(tuple(self._runs))
        for generation_id in cancelled:
            self.cancel(generation_id)

    async def _recover_abandoned(self) -> None:
        self._note_standstill()
        if asyncio.get_running_loop().time() < self._outage_forgiven_at:
            return
        async with self._store.begin() as tx:
            recovered = await tx.generations.recover_abandoned(
                now=self._clock(), policy=self._recovery, up_for=self._lease
            )
            await self._biller.bill_abandoned(tx, recovered)
        for generation_id in recovered:
            _log.warning("generation_recovered", extra={"generation_id": str(generation_id)})
            self._logs.notify(generation_id)
        if recovered:
            self.wake()

    def _note_standstill(self) -> None:
        """Where this process has stood still (a suspended machine, one that has far too much to do) others have, too.

        Its own runs are among those whose leases have ended meanwhile. Whoever lives renews them now.
        """
        now, last = self._clock(), self._looked_for_abandoned_at
        self._looked_for_abandoned_at = now
        if last is not None and now - last > timedelta(seconds=POLL_SECONDS) + self._lease / 2:
            _log.warning("stood_still", extra={"seconds": round((now - last).total_seconds(), 1)})
            self._forgive()


def _failure_of(errors: BaseExceptionGroup[AssistantError]) -> Failure:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, AssistantError)  # noqa: S101  (what the group was caught for)
    return Failure(
        code=error.code,
        message=error.message,
        reason=error.reason.value if isinstance(error, ProviderFailed) else None,
        retry_after_seconds=error.retry_after_seconds,
    )


def _outcome_of(run: Run, status: GenerationStatus, failure: Failure | None) -> Outcome:
    return Outcome(
        status=status,
        content=run.log.text.since(0),
        reasoning=run.log.reasoning.since(0),
        finish_reason=run.finish_reason,
        failure=failure,
    )
