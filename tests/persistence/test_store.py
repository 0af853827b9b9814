"""The unit of work: all or nothing, faults in the domain's words, and no connection held longer than needed."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

import persistence.engine
from domain.account import User
from domain.errors import Unavailable
from persistence.engine import create_engine
from persistence.faults import DatabaseFault, translated_faults
from persistence.store import PostgresStore
from tests.persistence.samples import add, add_user, new_generation, new_session, new_user
from tests.waiting import until


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[AsyncEngine]:
    """Another engine, whose connections nobody cuts."""
    engine = create_engine(database_url, pool_size=2)
    yield engine
    await engine.dispose()


@pytest.fixture
async def impatient(database_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine that waits a second for a statement or a lock."""
    engine = create_engine(database_url, pool_size=2, statement_timeout_seconds=1, lock_timeout_seconds=1)
    yield engine
    await engine.dispose()


async def _terminate_others(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )


async def test_a_unit_of_work_is_stored_whole_or_not_at_all(store: PostgresStore, ada: User) -> None:
    first, second = new_generation(ada), new_generation(ada)

    async def change_ones_mind() -> None:
        async with store.begin() as tx:
            await tx.generations.add(first)
            raise LookupError("on second thoughts")

    with pytest.raises(LookupError, match="on second thoughts"):
        await change_ones_mind()
    async with store.begin() as tx:
        assert await tx.generations.find(ada.id, first.id) is None
        await tx.generations.add(second)
        async with store.begin() as other:
            assert await other.generations.find(ada.id, second.id) is None
    async with store.begin() as tx:
        assert await tx.generations.find(ada.id, second.id) is not None


async def test_connections_are_held_by_units_of_work_and_by_nothing_else(store: PostgresStore, ada: User) -> None:
    assert (store.connections_in_use, store.connections_max) == (0, 12)
    async with store.begin(), store.begin() as tx:
        assert store.connections_in_use == 2
        await tx.users.find(ada.id)
    assert store.connections_in_use == 0


async def test_a_cancelled_unit_of_work_gives_its_connection_back(
    store: PostgresStore, engine: AsyncEngine, ada: User
) -> None:
    async def wait_for_the_row() -> None:
        async with store.begin() as tx:
            await tx.sessions.find_for_update(session.id)

    session = new_session(ada)
    async with store.begin() as tx:
        await tx.sessions.add(session)
    async with store.begin() as tx:
        await tx.sessions.find_for_update(session.id)
        tasks = [asyncio.create_task(wait_for_the_row()) for _ in range(5)]
        await until(lambda: store.connections_in_use == 6)
        for task in tasks:
            task.cancel()
        assert all(
            isinstance(each, asyncio.CancelledError) for each in await asyncio.gather(*tasks, return_exceptions=True)
        )
        assert store.connections_in_use == 1
    await asyncio.gather(*(store.ping() for _ in range(12)))
    async with engine.connect() as connection:
        waiting = await connection.execute(
            text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
        )
        assert waiting.scalar_one() == 0


async def test_a_database_that_is_not_there_is_unavailable() -> None:
    engine = create_engine("postgresql://nobody@127.0.0.1:1/nothing", pool_size=1)
    store = PostgresStore(engine)
    with pytest.raises(Unavailable, match="cannot be reached") as refusal:
        async with store.begin():
            pytest.fail("there is no connection")
    assert refusal.value.retry_after_seconds is not None
    with pytest.raises(Unavailable):
        await store.ping()
    assert store.connections_in_use == 0
    await store.dispose()


async def test_a_name_that_nobody_knows_is_unavailable(database_url: str) -> None:
    address, _, rest = database_url.partition("?")
    engine = create_engine(f"{address}_of_another_name?{rest}", pool_size=1)
    with pytest.raises(Unavailable, match="does not exist"):
        await PostgresStore(engine).ping()
    await engine.dispose()


async def test_connections_that_the_server_has_closed_are_replaced_unnoticed(
    store: PostgresStore, other: AsyncEngine, ada: User
) -> None:
    await asyncio.gather(*(store.ping() for _ in range(5)))
    await _terminate_others(other)
    await asyncio.sleep(0)

    for _ in range(6):
        async with store.begin() as tx:
            assert await tx.users.find(ada.id) == ada


async def test_a_connection_that_breaks_at_work_is_unavailable(
    store: PostgresStore, other: AsyncEngine, ada: User
) -> None:
    async def work() -> None:
        async with store.begin() as tx:
            await tx.users.find(ada.id)
            await _terminate_others(other)
            await tx.users.find(ada.id)

    with pytest.raises(Unavailable, match="cannot be reached"):
        await work()
    assert store.connections_in_use == 0
    assert (await add_user(store, "eve")).username == "eve"


async def test_a_commit_that_fails_is_unavailable(store: PostgresStore, other: AsyncEngine) -> None:
    eve = new_user("eve")

    async def work() -> None:
        async with store.begin() as tx:
            await tx.users.add(eve, password_hash="hash")
            await _terminate_others(other)

    with pytest.raises(Unavailable, match="cannot be reached"):
        await work()
    async with store.begin() as tx:
        assert await tx.users.find(eve.id) is None


async def test_what_waits_too_long_is_unavailable(store: PostgresStore, impatient: AsyncEngine, ada: User) -> None:
    session = new_session(ada)
    async with store.begin() as tx:
        await tx.sessions.add(session)
    async with store.begin() as tx:
        await tx.sessions.find_for_update(session.id)
        with pytest.raises(Unavailable, match="too busy"):
            async with PostgresStore(impatient).begin() as other:
                await other.sessions.find_for_update(session.id)
    async with impatient.connect() as connection:
        with pytest.raises(Unavailable, match="too busy"), translated_faults():
            await connection.execute(text("SELECT pg_sleep(30)"))


@pytest.mark.parametrize("sqlstate", ["XX001", "XX002"])
async def test_damaged_files_are_nothing_that_a_client_has_done(engine: AsyncEngine, sqlstate: str) -> None:
    async with engine.connect() as connection:
        with pytest.raises(Unavailable, match="Files of the database are damaged"), translated_faults():
            await connection.execute(text(f"DO $$ BEGIN RAISE SQLSTATE '{sqlstate}'; END $$"))


async def test_who_finds_no_free_connection_is_told_so(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(persistence.engine, "POOL_TIMEOUT_SECONDS", 0.1)
    engine = create_engine(database_url, pool_size=1)
    store = PostgresStore(engine)
    async with store.begin():
        with pytest.raises(Unavailable, match="too busy"):
            await store.ping()
    await store.ping()
    await engine.dispose()


async def test_after_a_migration_by_another_instance_the_next_try_succeeds(
    database_url: str, store: PostgresStore, ada: User
) -> None:
    await store.dispose()
    engine = create_engine(database_url, pool_size=1)
    one = PostgresStore(engine)
    async with one.begin() as tx:
        await tx.users.find(ada.id)
    other = create_engine(database_url, pool_size=1)
    async with other.begin() as connection:
        await connection.execute(text("ALTER TABLE users ALTER COLUMN password_hash TYPE varchar(1000)"))
        await connection.execute(text("ALTER TABLE users ALTER COLUMN role TYPE varchar(50)"))
    await other.dispose()

    with pytest.raises(Unavailable):
        async with one.begin() as tx:
            await tx.users.find(ada.id)
    async with one.begin() as tx:
        assert await tx.users.find(ada.id) == ada
    await engine.dispose()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"request_hash": b"short"}, "ck_content_history_request_hash_size"),
        ({"user_id": uuid7()}, "fk_content_history_user_id"),
        ({"prompt": "my secret \ud800"}, "DataError"),
        ({"prompt": "my secret \x00"}, "SQLSTATE 22021"),
        ({"model": "my secret " * 1000}, "ck_content_history_model_size"),
    ],
)
async def test_a_fault_names_what_was_broken_and_quotes_nothing(
    store: PostgresStore, ada: User, change: dict[str, object], named: str
) -> None:
    generation = replace(new_generation(ada, prompt="my secret prompt"), **change)  # type: ignore[arg-type]  # any field

    with pytest.raises(DatabaseFault) as fault:
        await add(store, generation)

    told = "".join(traceback.format_exception(fault.value))
    assert named in told
    assert "my secret" not in told
    assert str(ada.id) not in told


async def test_a_statement_that_is_wrong_is_named(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        with pytest.raises(DatabaseFault) as fault, translated_faults():
            await connection.execute(text("SELECT nothing FROM nowhere"))
    assert 'relation "nowhere" does not exist' in "".join(traceback.format_exception(fault.value))


async def test_a_connection_is_set_up_for_short_units_of_work(engine: AsyncEngine) -> None:
    expected = {
        "application_name": "notion-assistant",
        "default_transaction_isolation": "read committed",
        "idle_in_transaction_session_timeout": "30s",
        "jit": "off",
        "lock_timeout": "10s",
        "statement_timeout": "30s",
        "TimeZone": "UTC",
    }
    async with engine.connect() as connection:
        for name, value in expected.items():
            assert (await connection.execute(text(f"SHOW {name}"))).scalar_one() == value


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
def test_an_address_may_be_written_as_libpq_does(scheme: str) -> None:
    engine = create_engine(f"{scheme}://me:secret@db.example:5433/notes?sslmode=require", pool_size=3)

    assert engine.url.drivername == "postgresql+asyncpg"
    assert (engine.url.host, engine.url.port, engine.url.database) == ("db.example", 5433, "notes")
    assert engine.url.query == {"ssl": "require"}
    assert "secret" not in str(engine.url)
