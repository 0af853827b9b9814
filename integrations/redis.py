"""What Redis does for several instances: it carries live answers (streams), and keeps complete ones for a while."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from typing import Any, Final, TypeAlias, cast
from uuid import UUID

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError, ResponseError

from domain.answer_cache import CachedAnswer
from domain.errors import Unavailable
from domain.generation import Chunk, ChunkKind
from domain.secret import Secret

DEFAULT_TIMEOUT_SECONDS: Final = 0.5
DEFAULT_PAUSE_SECONDS: Final = 1.0
DEFAULT_BLOCK_SECONDS: Final = 1.0

# Every write sets the time to live anew, so a stream outlives its publisher's crash by so much and no longer.
_TAIL_TTL_SECONDS: Final = 15 * 60
_ENDED_TTL_SECONDS: Final = 60
_WAKE_TTL_SECONDS: Final = 60
# Minutes of the fastest model, while the store lags by half a second: what is cut off has long been stored.
_MAX_STREAM_ENTRIES: Final = 4096
_MAX_ENTRIES_PER_READ: Final = 4096
_MAX_WRITING_CONNECTIONS: Final = 4
_MAX_CACHE_CONNECTIONS: Final = 8
_MAX_ANSWER_BYTES: Final = 1_000_000
# Before every entry there can be.
_START: Final = b"0-0"

# Each stream's name and new entries: their positions and fields.
_News: TypeAlias = Sequence[tuple[bytes, Sequence[tuple[bytes, Mapping[bytes, bytes] | None]]]]


class RedisTokenBus:
    """Implements domain.token_bus.TokenBus for one instance; one task at a time may `receive`.

    The keys are `<namespace>:tail:<generation>`, whose entries are chunks, and `<namespace>:wake:<instance>`, whose
    entries only end the instance's blocking read. Both expire by themselves. Any Redis from version 5 and any Valkey
    will do, but not a cluster, as one read spans many keys; the user needs the commands XADD, EXPIRE, MULTI, EXEC,
    XREAD and XREVRANGE.
    """

    def __init__(
        self,
        url: Secret,
        *,
        namespace: str,
        instance_id: str,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        pause_seconds: float = DEFAULT_PAUSE_SECONDS,
        block_seconds: float = DEFAULT_BLOCK_SECONDS,
    ) -> None:
        """An answer that takes longer than `timeout_seconds` means that Redis is down, and so it is left alone for
        `pause_seconds`. A read waits `block_seconds` for news before it makes sure that Redis is still there.
        """
        self._namespace = namespace
        self._wake_name = f"{namespace}:wake:{instance_id}".encode()
        self._timeout_seconds = timeout_seconds
        self._pause_seconds = pause_seconds
        self._block_seconds = block_seconds
        self._writer = _client(url, connections=_MAX_WRITING_CONNECTIONS, timeout_seconds=timeout_seconds)
        # A connection of its own, for a blocking read keeps everybody else from it.
        self._reader = _client(
            url, connections=1, timeout_seconds=timeout_seconds, read_timeout_seconds=block_seconds + timeout_seconds
        )
        self._breaker = _Breaker(pause_seconds)
        self._watched: frozenset[UUID] = frozenset()
        self._watch_changed = asyncio.Event()
        self._tails: dict[bytes, UUID] = {}
        # The last entry that was seen of each stream; one that has none here begins with the next look at its end.
        self._positions: dict[bytes, bytes] = {}
        self._next_look_at = 0.0
        self._resume_at = 0.0
        self._is_closed = False

    async def publish(self, chunks: Sequence[Chunk]) -> None:
        """Sends them in one round trip. Raises Unavailable, at once when Redis was down a moment ago."""
        tails: dict[bytes, list[Chunk]] = {}
        for chunk in chunks:
            tails.setdefault(self._tail_name(chunk.generation_id), []).append(chunk)
        if not tails:
            return
        # A transaction: half of it would leave a stream behind that never expires.
        pipeline = self._writer.pipeline(transaction=True)
        for name, its_chunks in tails.items():
            for chunk in its_chunks:
                pipeline.xadd(name, _encoded(chunk), maxlen=_MAX_STREAM_ENTRIES, approximate=True)
            pipeline.expire(name, _TAIL_TTL_SECONDS if its_chunks[-1].text else _ENDED_TTL_SECONDS)
        await self._write(pipeline)

    def watch(self, generation_ids: Collection[UUID]) -> None:
        """Replaces the set of generations whose chunks are wanted; ends a blocking read that knows too few of them."""
        watched = frozenset(generation_ids)
        if watched == self._watched:
            return
        if watched - self._watched:
            self._watch_changed.set()
        self._watched = watched
        self._tails = {self._tail_name(generation_id): generation_id for generation_id in watched}
        self._positions = {
            name: position
            for name, position in self._positions.items()
            if name in self._tails or name == self._wake_name
        }

    async def receive(self) -> Sequence[Chunk]:
        """The next chunks; waits for some. Raises Unavailable, and after that begins with a pause.

        A generation's chunks are received from the first look at the end of its stream on: one round trip after
        `watch`, if this is running then. A failure loses no chunk that has reached Redis.
        """
        while True:
            await asyncio.sleep(self._resume_at - time.monotonic())
            try:
                chunks = await self._receive_some()
            except Unavailable:
                self._resume_at = time.monotonic() + self._pause_seconds
                # What answers next may be another Redis, or an empty one.
                self._next_look_at = 0.0
                raise
            if chunks:
                return chunks

    async def aclose(self) -> None:
        """Closes the connections for good. To be called when nobody publishes or receives any more."""
        self._is_closed = True
        for client in (self._writer, self._reader):
            with suppress(RedisError, OSError):
                async with asyncio.timeout(self._timeout_seconds):
                    await client.aclose()

    def _tail_name(self, generation_id: UUID) -> bytes:
        return f"{self._namespace}:tail:{generation_id}".encode()

    async def _receive_some(self) -> Sequence[Chunk]:
        self._watch_changed.clear()
        if not self._tails:
            await self._watch_changed.wait()
            return ()
        await self._look_at_ends()
        if self._watch_changed.is_set():
            return ()
        return self._taken(await self._read_until_watch_changes())

    async def _look_at_ends(self) -> None:
        """Finds where new streams end, and now and then whether known ones still go on from where they were.

        This is also what tells a slow Redis from a silent one, for it does not block.
        """
        names = [self._wake_name, *self._tails]
        now = time.monotonic()
        if now >= self._next_look_at:
            self._next_look_at = now + self._block_seconds
        else:
            names = [name for name in names if name not in self._positions]
        if not names:
            return
        pipeline = self._reader.pipeline(transaction=False)
        for name in names:
            pipeline.xrevrange(name, count=1)
        for name, entries in zip(names, await self._execute(pipeline), strict=True):
            if name not in self._tails and name != self._wake_name:
                continue  # Meanwhile nobody watches it.
            end = entries[0][0] if entries else _START
            known = self._positions.setdefault(name, end)
            if _order(end) < _order(known):
                # It was lost, and what has been written since is all new.
                self._positions[name] = _START

    async def _read_until_watch_changes(self) -> _News:
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._read())
            changing = group.create_task(self._watch_changed.wait())
            await asyncio.wait((reading, changing), return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                with suppress(Unavailable):  # The read then ends a little later by itself.
                    await self._wake()
            changing.cancel()
        answer = reading.result()
        if isinstance(answer, Unavailable):
            raise answer
        return answer

    async def _read(self) -> _News | Unavailable:
        """The failure is a result, as raising it would end the task group with a group of exceptions."""
        positions: dict[Any, Any] = dict(self._positions)  # Any: what xread takes is a dict, invariant in its types
        try:
            async with self._door(self._block_seconds + self._timeout_seconds):
                answer = await self._reader.xread(
                    positions,
                    count=max(1, _MAX_ENTRIES_PER_READ // len(positions)),
                    block=max(1, round(self._block_seconds * 1000)),
                )
                # redis-py's type covers all protocols and options; this is the one of protocol 2 without decoding.
                return cast(_News, answer)
        except Unavailable as failure:
            return failure

    def _taken(self, answer: _News) -> Sequence[Chunk]:
        chunks = []
        for name, entries in answer:
            if name not in self._positions or not entries:
                continue  # Meanwhile nobody watches it, or somebody anew.
            self._positions[name] = entries[-1][0]
            if name in self._tails:
                chunks += [_decoded(self._tails[name], fields) for _, fields in entries]
        return [chunk for chunk in chunks if chunk is not None]

    async def _wake(self) -> None:
        pipeline = self._writer.pipeline(transaction=True)
        pipeline.xadd(self._wake_name, {b"w": b""}, maxlen=1, approximate=False)
        pipeline.expire(self._wake_name, _WAKE_TTL_SECONDS)
        await self._write(pipeline)

    async def _write(self, pipeline: Pipeline) -> None:
        with self._breaker.attempt():
            await self._execute(pipeline)

    async def _execute(self, pipeline: Pipeline) -> list[Any]:  # Any: each command has its own kind of answer
        async with self._door(self._timeout_seconds):
            try:
                answers = await pipeline.execute()
            except ResponseError:
                # After a failover the old primary refuses to write; a new connection may lead to the new one.
                await pipeline.connection_pool.disconnect(inuse_connections=False)
                raise
        return answers

    @asynccontextmanager
    async def _door(self, timeout_seconds: float) -> AsyncIterator[None]:
        """The one way to Redis, and out for redis-py's errors."""
        if self._is_closed:
            raise Unavailable("The connection to Redis is closed.")
        with _translated():
            async with asyncio.timeout(timeout_seconds):
                yield


class RedisAnswerCache:
    """Implements domain.answer_cache.AnswerCache for all instances together: a key for each answer, that expires.

    An answer longer than `max_answer_bytes` is not kept. A Redis that is slow or gone has nothing and takes nothing.
    """

    def __init__(
        self,
        url: Secret,
        *,
        namespace: str,
        ttl: timedelta,
        max_answer_bytes: int = _MAX_ANSWER_BYTES,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        pause_seconds: float = DEFAULT_PAUSE_SECONDS,
    ) -> None:
        self._namespace = namespace
        self._ttl = ttl
        self._max_answer_bytes = max_answer_bytes
        self._timeout_seconds = timeout_seconds
        self._client = _client(url, connections=_MAX_CACHE_CONNECTIONS, timeout_seconds=timeout_seconds)
        self._breaker = _Breaker(pause_seconds)

    async def find(self, key: bytes) -> CachedAnswer | None:
        """The answer, if it is still there."""
        found = None
        with suppress(Unavailable):
            async with self._door():
                found = await self._client.get(self._name(key))
        return None if found is None else _answer_of(found)

    async def put(self, key: bytes, answer: CachedAnswer) -> None:
        """Keeps it, in place of an earlier one; not if it is too large."""
        if answer.size_bytes > self._max_answer_bytes:
            return
        written = json.dumps([str(answer.generation_id), answer.content, answer.reasoning], ensure_ascii=False).encode()
        with suppress(Unavailable):
            async with self._door():
                await self._client.set(self._name(key), written, ex=self._ttl)

    async def remove(self, keys: Collection[bytes]) -> None:
        """Forgets them."""
        if not keys:
            return
        with suppress(Unavailable):
            async with self._door():
                await self._client.unlink(*(self._name(key) for key in keys))

    @property
    def ttl(self) -> timedelta:
        """How long an answer is kept."""
        return self._ttl

    async def aclose(self) -> None:
        """Closes the connections for good."""
        with suppress(RedisError, OSError):
            async with asyncio.timeout(self._timeout_seconds):
                await self._client.aclose()

    def _name(self, key: bytes) -> str:
        return f"{self._namespace}:answer:{key.hex()}"

    @asynccontextmanager
    async def _door(self) -> AsyncIterator[None]:
        with self._breaker.attempt(), _translated():
            async with asyncio.timeout(self._timeout_seconds):
                yield


def _answer_of(written: bytes | str) -> CachedAnswer | None:
    """The answer; None for what somebody else, or another version of this program, has put there."""
    try:
        match json.loads(written):
            case [str(generation_id), str(content), str(reasoning)]:
                return CachedAnswer(generation_id=UUID(generation_id), content=content, reasoning=reasoning)
    except ValueError:
        pass
    return None


@contextmanager
def _translated() -> Iterator[None]:
    """The way out for redis-py's errors."""
    try:
        yield
    except (RedisError, OSError, ValueError) as error:  # ValueError: that is no Redis which answers
        # Without the error itself: its words may quote a command, and with it the text of an answer.
        raise Unavailable(f"Redis cannot be used at the moment ({type(error).__name__}).") from None


class _Breaker:
    """Remembers a failure for a while, so that nobody waits for what is down, and then lets a single one try."""

    def __init__(self, pause_seconds: float) -> None:
        self._pause_seconds = pause_seconds
        self._is_down = False
        self._is_tried = False
        self._try_at = 0.0

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Raises Unavailable instead of beginning while it counts as down."""
        if self._is_down and (self._is_tried or time.monotonic() < self._try_at):
            raise Unavailable("Redis did not answer a moment ago.")
        is_trial = self._is_down
        self._is_tried = self._is_tried or is_trial
        try:
            yield
            self._is_down = False
        except Unavailable:
            self._is_down = True
            self._try_at = time.monotonic() + self._pause_seconds
            raise
        finally:
            if is_trial:
                self._is_tried = False


def _client(
    url: Secret, *, connections: int, timeout_seconds: float, read_timeout_seconds: float | None = None
) -> Redis:
    return Redis.from_pool(
        # The usual pool raises an error when all its connections are in use.
        BlockingConnectionPool.from_url(
            url.reveal(),
            max_connections=connections,
            timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            # By default five seconds, whatever a command's own timeout.
            socket_timeout=read_timeout_seconds or timeout_seconds,
            # The protocol of all versions; with it, a new connection needs no commands of its own.
            protocol=2,
            driver_info=None,
        )
    )


def _order(position: bytes) -> tuple[int, int]:
    milliseconds, _, number = position.partition(b"-")
    return int(milliseconds), int(number)


def _encoded(chunk: Chunk) -> dict[Any, Any]:  # Any: what xadd takes is a dict, invariant in its types
    return {
        b"f": chunk.fence,
        b"e": chunk.epoch,
        b"k": chunk.kind.value,
        b"o": chunk.offset,
        b"t": chunk.text.encode(),
    }


def _decoded(generation_id: UUID, fields: Mapping[bytes, bytes] | None) -> Chunk | None:
    """The chunk; None for what somebody else, or another version of this program, has put there."""
    if fields is None:
        return None
    try:
        chunk = Chunk(
            generation_id=generation_id,
            fence=int(fields[b"f"]),
            epoch=int(fields[b"e"]),
            kind=ChunkKind(fields[b"k"].decode()),
            offset=int(fields[b"o"]),
            text=fields[b"t"].decode(),
        )
    except (KeyError, ValueError):
        return None
    return chunk if min(chunk.fence, chunk.epoch, chunk.offset) >= 0 else None
