"""The token bus between instances, on a real Valkey that may die, forget, refuse and be slow."""

from __future__ import annotations

import asyncio
import gc
import ssl
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from redis.asyncio import Redis

from domain.errors import Unavailable
from domain.generation import Chunk, ChunkKind
from domain.secret import Secret
from domain.token_bus import TokenBus
from integrations.redis import RedisTokenBus
from tests.standins.valkey import Valkey, line_to, running_valkey

# Long for any machine: no answer within it is a failure, and no test waits for it otherwise.
PATIENCE_SECONDS = 60.0


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with running_valkey() as server:
        yield server


class Listener:
    """Receives from a bus, and notes what it gets."""

    def __init__(self, bus: RedisTokenBus) -> None:
        self.bus = bus
        self.chunks: list[Chunk] = []
        self.failures: list[Unavailable] = []
        self._news = asyncio.Event()

    async def run(self) -> None:
        while True:
            try:
                self.chunks += await self.bus.receive()
            except Unavailable as failure:
                self.failures.append(failure)
            self._news.set()

    async def wait_until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not is_so():
                self._news.clear()
                await self._news.wait()

    def texts(self, generation_id: UUID) -> list[str]:
        """What has come of one generation, without the probes."""
        return [chunk.text for chunk in self.chunks if chunk.generation_id == generation_id and chunk.text]


@asynccontextmanager
async def listening(bus: RedisTokenBus) -> AsyncIterator[Listener]:
    listener = Listener(bus)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(listener.run())
        try:
            yield listener
        finally:
            task.cancel()


@asynccontextmanager
async def buses(url: str, count: int = 2, **options: float) -> AsyncIterator[list[RedisTokenBus]]:
    """Some instances on one Redis, which are patient with a busy machine unless told otherwise."""
    options = {"timeout_seconds": PATIENCE_SECONDS, "pause_seconds": 0.1, "block_seconds": 0.5} | options
    async with AsyncExitStack() as stack:
        made = [
            RedisTokenBus(Secret(url), namespace="test", instance_id=f"instance-{number}", **options)
            for number in range(count)
        ]
        for bus in made:
            await stack.enter_async_context(aclosing(bus))
        yield made


@asynccontextmanager
async def observing(valkey: Valkey) -> AsyncIterator[Redis]:
    async with aclosing(Redis.from_url(valkey.url)) as redis:
        yield redis


def chunk(generation_id: UUID, text: str, *, offset: int = 0, epoch: int = 0) -> Chunk:
    return Chunk(generation_id=generation_id, fence=1, epoch=epoch, kind=ChunkKind.TEXT, offset=offset, text=text)


def tail(generation_id: UUID) -> str:
    return f"test:tail:{generation_id}"


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await is_so():  # noqa: ASYNC110 what is waited for gives no event
            await asyncio.sleep(0.02)


async def reached(listener: Listener, publisher: RedisTokenBus, generation_ids: Collection[UUID]) -> None:
    """Returns when the listener's watch of these has taken effect: sends probes until it has heard one of each."""
    heard_before = len(listener.chunks)

    async def is_heard() -> bool:
        heard = {chunk.generation_id for chunk in listener.chunks[heard_before:]}
        missing = set(generation_ids) - heard
        with suppress(Unavailable):
            await publisher.publish([chunk(each, "") for each in missing])
        return not missing

    await until(is_heard)


async def is_published(bus: RedisTokenBus, chunks: Sequence[Chunk]) -> bool:
    try:
        await bus.publish(chunks)
    except Unavailable:
        return False
    return True


def refused_at_once(bus: RedisTokenBus) -> bool:
    """Whether `publish` fails without waiting for anything at all."""
    publishing = bus.publish([chunk(uuid4(), "late")])
    try:
        publishing.send(None)  # Its first wait would return here.
    except Unavailable:
        return True
    finally:
        publishing.close()
    return False


async def test_every_other_instance_gets_the_chunks_whole_and_in_order(valkey: Valkey) -> None:
    generation_id = uuid4()
    sent = [
        Chunk(generation_id=generation_id, fence=7, epoch=3, kind=kind, offset=offset, text=text)
        for kind, offset, text in [
            (ChunkKind.REASONING, 0, "Let me\r\nsee…"),
            (ChunkKind.TEXT, 0, "naïve 👩‍👩‍👧 \x01 東京"),
            (ChunkKind.TEXT, 2**31, " " * 100_000),
            (ChunkKind.TEXT, 5, ""),
        ]
    ]
    async with buses(valkey.url, 3) as (publisher, *others), listening(others[0]) as one, listening(others[1]) as two:
        for listener in (one, two):
            listener.bus.watch([generation_id])
            await reached(listener, publisher, [generation_id])
        for part in (sent[:1], sent[1:]):
            await publisher.publish(part)
        for listener in (one, two):
            await listener.wait_until(lambda heard=listener.chunks: heard[-1:] == sent[-1:])  # type: ignore[misc] # mypy cannot infer a lambda with a default
            assert listener.chunks[-len(sent) :] == sent


async def test_it_is_the_port(valkey: Valkey) -> None:
    async with buses(valkey.url, 1) as (bus,):
        port: TokenBus = bus
        await port.publish([])
    async with observing(valkey) as redis:
        assert await redis.dbsize() == 0


async def test_only_what_is_watched_comes_and_only_from_then_on(valkey: Valkey) -> None:
    watched, unwatched = uuid4(), uuid4()
    async with buses(valkey.url) as (publisher, other), listening(other) as listener:
        await publisher.publish([chunk(watched, "before")])
        other.watch([watched])
        await reached(listener, publisher, [watched])
        await publisher.publish([chunk(unwatched, "never"), chunk(watched, "after")])
        await listener.wait_until(lambda: bool(listener.texts(watched)))
        assert listener.texts(watched) == ["after"]
        assert listener.texts(unwatched) == []


async def test_a_changed_watch_interrupts_a_blocked_read(valkey: Valkey) -> None:
    first, second, third = uuid4(), uuid4(), uuid4()
    async with buses(valkey.url, block_seconds=1000) as (publisher, other), listening(other) as listener:
        other.watch([first])
        await reached(listener, publisher, [first])
        other.watch([first, second])
        await reached(listener, publisher, [second])
        other.watch([third])
        await reached(listener, publisher, [third])
        await publisher.publish([chunk(first, "unwatched"), chunk(second, "unwatched"), chunk(third, "watched")])
        await listener.wait_until(lambda: bool(listener.texts(third)))
        assert not listener.texts(first)
        assert not listener.texts(second)
        # Back again, and again only from now on.
        other.watch([first, third])
        await reached(listener, publisher, [first])
        await publisher.publish([chunk(first, "watched again")])
        await listener.wait_until(lambda: bool(listener.texts(first)))
        assert listener.texts(first) == ["watched again"]


async def test_nothing_is_kept_of_what_is_no_longer_watched(valkey: Valkey) -> None:
    first, second = uuid4(), uuid4()

    async with (
        buses(valkey.url, block_seconds=1000) as (publisher, other),
        listening(other) as listener,
        observing(valkey) as redis,
    ):

        async def is_blocked_on(streams: int) -> bool:
            info = await redis.info("clients")
            return bool(info["total_blocking_keys"] == streams)

        other.watch([first, second])
        await reached(listener, publisher, [first, second])
        await until(lambda: is_blocked_on(3))
        other.watch([])
        await publisher.publish([chunk(first, "ends the read")])
        await until(lambda: is_blocked_on(0))
        await publisher.publish([chunk(first, "unwatched")])
        other.watch([first])
        await until(lambda: is_blocked_on(2))
        await publisher.publish([chunk(first, "watched")])
        await listener.wait_until(lambda: bool(listener.texts(first)))
        assert listener.texts(first) == ["watched"]


async def test_two_hundred_streams_are_followed_by_one_connection(valkey: Valkey) -> None:
    ids = [uuid4() for _ in range(200)]
    async with buses(valkey.url) as (publisher, other), listening(other) as listener, observing(valkey) as redis:
        other.watch(ids)
        await reached(listener, publisher, ids)
        for number in range(5):
            await publisher.publish([chunk(each, str(number), offset=number) for each in ids])
        await listener.wait_until(lambda: all(len(listener.texts(each)) == 5 for each in ids))
        assert all(listener.texts(each) == ["0", "1", "2", "3", "4"] for each in ids)
        # The observer's, the publisher's, the reader's, and the one that woke it.
        assert len(await redis.client_list()) <= 4


async def test_with_nothing_to_watch_it_asks_nothing(valkey: Valkey) -> None:
    async with line_to(valkey.port) as line, buses(f"redis://127.0.0.1:{line.port}", 1) as (bus,):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await bus.receive()
        assert line.connections_made == 0


async def test_streams_expire_and_soon_once_their_generation_has_ended(valkey: Valkey) -> None:
    running, ended = uuid4(), uuid4()
    async with buses(valkey.url) as (bus, other), observing(valkey) as redis, listening(other) as listener:
        await bus.publish([chunk(running, "a"), chunk(ended, "a"), chunk(ended, "")])
        assert 60 < await redis.ttl(tail(running)) <= 900
        assert 0 < await redis.ttl(tail(ended)) <= 60
        await bus.publish([chunk(ended, "restarted", epoch=1)])
        assert 60 < await redis.ttl(tail(ended)) <= 900
        # A wake-up, which leaves its own stream.
        other.watch([running])
        await reached(listener, bus, [running])
        other.watch([running, ended])
        await reached(listener, bus, [ended])
        for name in await redis.keys():
            assert await redis.ttl(name) > 0, name


async def test_a_stream_is_bounded(valkey: Valkey) -> None:
    generation_id = uuid4()
    async with buses(valkey.url, 1) as (bus,), observing(valkey) as redis:
        for _ in range(3):
            await bus.publish([chunk(generation_id, "x", offset=offset) for offset in range(2000)])
        assert 4096 <= await redis.xlen(tail(generation_id)) < 5000


async def test_what_others_put_into_a_stream_is_skipped(valkey: Valkey) -> None:
    generation_id = uuid4()
    good: dict[Any, Any] = {"f": 1, "e": 0, "k": "TEXT", "o": 0, "t": "good"}
    async with buses(valkey.url) as (publisher, other), listening(other) as listener, observing(valkey) as redis:
        other.watch([generation_id])
        await reached(listener, publisher, [generation_id])
        bad_ones: list[dict[Any, Any]] = [
            {"something": "else"},
            good | {"t": "bad", "k": "NOISE"},
            good | {"t": "bad", "k": b"\xff"},
            good | {"t": b"bad\xff"},
            good | {"t": "bad", "o": -1},
            good | {"t": "bad", "e": "x" * 10_000},
            good | {"t": "bad", "f": 1.5},
        ]
        for bad in bad_ones:
            await redis.xadd(tail(generation_id), bad)
        await redis.xadd(tail(generation_id), good | {"more": "from a later version"})
        await listener.wait_until(lambda: bool(listener.texts(generation_id)))
        assert listener.texts(generation_id) == ["good"]
        assert not listener.failures


async def test_a_killed_server_is_told_and_its_successor_is_used(valkey: Valkey) -> None:
    generation_id = uuid4()
    async with buses(valkey.url) as (publisher, other), listening(other) as listener:
        other.watch([generation_id])
        for number in range(3):
            await reached(listener, publisher, [generation_id])
            failures = len(listener.failures)
            valkey.kill()
            await listener.wait_until(lambda before=failures: len(listener.failures) > before)  # type: ignore[misc] # mypy cannot infer a lambda with a default
            with pytest.raises(Unavailable):
                await publisher.publish([chunk(generation_id, "lost")])
            assert refused_at_once(publisher)
            valkey.start()
            await reached(listener, publisher, [generation_id])
            await publisher.publish([chunk(generation_id, f"after {number}")])
            await listener.wait_until(lambda last=f"after {number}": last in listener.texts(generation_id))  # type: ignore[misc] # as above
        assert listener.texts(generation_id) == ["after 0", "after 1", "after 2"]


async def test_a_lost_connection_loses_no_chunk(valkey: Valkey) -> None:
    generation_id = uuid4()
    texts = [str(number) for number in range(50)]
    async with buses(valkey.url) as (publisher, other), listening(other) as listener, observing(valkey) as redis:
        other.watch([generation_id])
        await reached(listener, publisher, [generation_id])
        for number, text in enumerate(texts):
            if number % 10 == 5:
                for client in await redis.client_list():
                    if client["cmd"] == "xread":
                        await redis.client_kill_filter(_id=client["id"])
            await publisher.publish([chunk(generation_id, text, offset=number)])
        await listener.wait_until(lambda: texts[-1] in listener.texts(generation_id))
        assert listener.texts(generation_id) == texts
        assert listener.failures


async def test_it_goes_on_after_everything_was_flushed(valkey: Valkey) -> None:
    generation_id = uuid4()
    async with buses(valkey.url) as (publisher, other), listening(other) as listener, observing(valkey) as redis:
        other.watch([generation_id])
        for text in ("one", "two", "three"):
            await reached(listener, publisher, [generation_id])
            await redis.flushall()
            await publisher.publish([chunk(generation_id, text)])
            await listener.wait_until(lambda last=text: last in listener.texts(generation_id))  # type: ignore[misc] # mypy cannot infer a lambda with a default
        assert not listener.failures


async def test_it_goes_on_when_the_numbers_of_a_stream_begin_anew(valkey: Valkey) -> None:
    """As after a failover to a server whose clock is behind."""
    generation_id = uuid4()
    fields: dict[Any, Any] = {"f": 1, "e": 0, "k": "TEXT", "o": 0}
    async with buses(valkey.url) as (publisher, other), listening(other) as listener, observing(valkey) as redis:
        other.watch([generation_id])
        await reached(listener, publisher, [generation_id])
        await redis.flushall()
        await redis.xadd(tail(generation_id), fields | {"t": "first"}, id="1-1")
        await redis.xadd(tail(generation_id), fields | {"t": "second"}, id="1-2")
        await listener.wait_until(lambda: len(listener.texts(generation_id)) >= 2)
        assert listener.texts(generation_id) == ["first", "second"]


async def test_a_slow_server_counts_as_down_and_nobody_waits_for_it(valkey: Valkey) -> None:
    generation_id = uuid4()
    async with (
        line_to(valkey.port) as line,
        buses(f"redis://127.0.0.1:{line.port}", timeout_seconds=0.5, pause_seconds=0.3) as (publisher, other),
        listening(other) as listener,
    ):
        other.watch([generation_id])
        await reached(listener, publisher, [generation_id])
        line.slow_down(2)
        with pytest.raises(Unavailable, match="TimeoutError"):
            await publisher.publish([chunk(generation_id, "slow")])
        assert refused_at_once(publisher)
        await listener.wait_until(lambda: bool(listener.failures))
        line.speed_up()
        await until(lambda: is_published(publisher, [chunk(generation_id, "fast")]))
        await listener.wait_until(lambda: "fast" in listener.texts(generation_id))


async def test_after_a_failure_one_tries_and_the_others_do_not_wait(valkey: Valkey) -> None:
    async with line_to(valkey.port) as line, buses(f"redis://127.0.0.1:{line.port}", 1) as (bus,):
        valkey.kill()
        with pytest.raises(Unavailable):
            await bus.publish([chunk(uuid4(), "a")])
        assert refused_at_once(bus)
        valkey.start().pause()
        await asyncio.sleep(0.2)  # twice the bus's own pause

        async def is_asked() -> bool:
            return line.bytes_asked > 0

        async with asyncio.TaskGroup() as group:
            group.create_task(bus.publish([chunk(uuid4(), "trial")]))
            await until(is_asked)
            assert refused_at_once(bus)
            valkey.resume()
        # All is as before, for everybody at once.
        await asyncio.gather(*(bus.publish([chunk(uuid4(), "b")]) for _ in range(10)))


async def test_after_a_failure_receiving_begins_with_a_pause(valkey: Valkey) -> None:
    async with line_to(valkey.port) as line, buses(f"redis://127.0.0.1:{line.port}", 1, pause_seconds=1000) as (bus,):
        bus.watch([uuid4()])
        valkey.kill()
        with pytest.raises(Unavailable):
            await bus.receive()
        connections_made = line.connections_made
        assert connections_made > 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await bus.receive()
        assert line.connections_made == connections_made


async def test_a_cancelled_publish_says_nothing_of_redis(valkey: Valkey) -> None:
    async with buses(valkey.url, 1) as (bus,):
        valkey.pause()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await bus.publish([chunk(uuid4(), "a")])
        valkey.resume()
        await bus.publish([chunk(uuid4(), "b")])


async def test_a_refusal_leads_to_a_new_connection_as_after_a_failover(valkey: Valkey) -> None:
    generation_id = uuid4()
    with running_valkey() as successor:
        async with (
            line_to(valkey.port) as line,
            buses(f"redis://127.0.0.1:{line.port}", 1) as (bus,),
            observing(valkey) as old,
            observing(successor) as new,
        ):
            await bus.publish([chunk(generation_id, "a")])
            line.target_port = successor.port
            await old.replicaof("127.0.0.1", successor.port)
            with pytest.raises(Unavailable, match="ReadOnlyError"):
                await bus.publish([chunk(generation_id, "b")])
            await until(lambda: is_published(bus, [chunk(generation_id, "c")]))
            assert await new.xlen(tail(generation_id)) == 1


async def test_no_failure_tells_the_password_or_a_text(valkey: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    generation_id = uuid4()
    failures: list[Unavailable] = []

    async def fail(url: str) -> None:
        async with buses(url, 1, timeout_seconds=5) as (bus,):
            with pytest.raises(Unavailable) as publishing:
                await bus.publish([chunk(generation_id, "classified")])
            bus.watch([generation_id])
            with pytest.raises(Unavailable) as receiving:
                await bus.receive()
            failures.extend((publishing.value, receiving.value))
            assert "sesame" not in f"{bus!r} {vars(bus)}"

    async with observing(valkey) as redis:
        await redis.set(tail(generation_id), "not a stream")
        await fail(valkey.url)
        await redis.config_set("requirepass", "other")
        await fail(valkey.url)
        await fail(valkey.url.replace("redis://", "redis://:sesame@"))
        await fail("redis://user:sesame@127.0.0.1:1")
        await fail("unix://:sesame@/nowhere/valkey.sock")
    told = caplog.text + "".join(line for each in failures for line in traceback.format_exception(each))
    assert len(failures) == 10
    assert "sesame" not in told
    assert "classified" not in told.replace('chunk(generation_id, "classified")', "")


async def test_a_port_of_something_else_is_a_server_that_is_down() -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b":HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with buses(f"redis://127.0.0.1:{port}", 1) as (bus,):
            bus.watch([uuid4()])
            for _ in range(3):
                with pytest.raises(Unavailable):
                    await bus.receive()


async def test_a_cancelled_receive_can_be_called_again(valkey: Valkey) -> None:
    generation_id = uuid4()
    async with buses(valkey.url) as (publisher, other):
        other.watch([generation_id])
        async with listening(other) as listener:
            await reached(listener, publisher, [generation_id])
        await publisher.publish([chunk(generation_id, "meanwhile")])
        async with listening(other) as listener:
            await listener.wait_until(lambda: bool(listener.texts(generation_id)))
            assert listener.texts(generation_id) == ["meanwhile"]


async def test_a_socket_file_and_a_password_will_do() -> None:
    generation_id = uuid4()
    with running_valkey(password="open-sesame") as server:
        async with buses(server.unix_url) as (publisher, other), listening(other) as listener:
            other.watch([generation_id])
            await reached(listener, publisher, [generation_id])
            await publisher.publish([chunk(generation_id, "by file")])
            await listener.wait_until(lambda: listener.texts(generation_id) == ["by file"])
        async with buses(server.url, 1) as (bus,):
            await bus.publish([chunk(generation_id, "by TCP")])


async def test_tls_checks_whom_it_talks_to(valkey: Valkey, tmp_path: Path) -> None:
    generation_id = uuid4()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate = _write_certificate(tmp_path)
    server_side.load_cert_chain(certificate, tmp_path / "key.pem")
    async with line_to(valkey.port, tls=server_side) as line:
        url = f"rediss://127.0.0.1:{line.port}/0"
        async with buses(url, 1) as (stranger,):
            with pytest.raises(Unavailable):
                await stranger.publish([chunk(generation_id, "a")])
        async with buses(f"{url}?ssl_ca_certs={certificate}") as (publisher, other), listening(other) as listener:
            other.watch([generation_id])
            await reached(listener, publisher, [generation_id])


def _write_certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


async def test_closing_leaves_nothing_behind(valkey: Valkey) -> None:
    generation_id = uuid4()
    tasks_before = asyncio.all_tasks()
    async with observing(valkey) as redis:
        for _ in range(3):
            async with buses(valkey.url) as (publisher, other), listening(other) as listener:
                other.watch([generation_id])
                await reached(listener, publisher, [generation_id])
                other.watch([generation_id, uuid4()])
                await asyncio.gather(*(publisher.publish([chunk(generation_id, "x")]) for _ in range(20)))
            for bus in (publisher, other):
                with pytest.raises(Unavailable, match="closed"):
                    await bus.publish([chunk(generation_id, "late")])
                bus.watch([generation_id])
                with pytest.raises(Unavailable, match="closed"):
                    await bus.receive()

        async def is_alone() -> bool:
            return len(await redis.client_list()) == 1

        await until(is_alone)
    assert asyncio.all_tasks() == tasks_before
    gc.collect()  # What is unclosed warns now, and a warning is an error.
