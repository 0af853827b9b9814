"""The migrations go up, down and up again, and make exactly what persistence/tables.py says is stored."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import Unavailable
from domain.provider import ModelParameter, ProviderKind
from persistence.engine import create_engine
from persistence.migrate import downgrade, is_at_head, upgrade
from persistence.store import PostgresStore
from persistence.tables import metadata

PROJECT = Path(__file__).resolve().parents[2]

# Everything in the schema, in the words of PostgreSQL itself, which alembic's own comparison sees only in part.
CATALOG = {
    "columns": """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated, a.attstorage,
               coll.collname, pg_get_expr(d.adbin, d.adrelid)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        LEFT JOIN pg_collation coll ON coll.oid = a.attcollation
        WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND c.relnamespace = 'public'::regnamespace
    """,
    "constraints": """
        SELECT conrelid::regclass::text, conname, contype::text, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    """,
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "triggers": """
        SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
    """,
    "functions": """
        SELECT proname, pg_get_function_arguments(oid), prorettype::regtype::text, provolatile::text,
               regexp_replace(prosrc, '\\s+', ' ', 'g')
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    """,
    "tables": """
        SELECT relname, reloptions::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
    """,
}


@pytest.fixture
async def engine(empty_database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(empty_database_url, pool_size=2)
    yield engine
    await engine.dispose()


def _catalog(connection: Connection) -> dict[str, list[str]]:
    return {
        kind: sorted(str(tuple(row)) for row in connection.execute(text(query)) if row[0] != "alembic_version")
        for kind, query in CATALOG.items()
    }


async def _catalog_of(engine: AsyncEngine) -> dict[str, list[str]]:
    async with engine.connect() as connection:
        return await connection.run_sync(_catalog)


async def test_up_down_and_up_again(empty_database_url: str, engine: AsyncEngine) -> None:
    untouched = await _catalog_of(engine)

    await asyncio.to_thread(upgrade, empty_database_url)
    first = await _catalog_of(engine)
    await asyncio.to_thread(downgrade, empty_database_url, "base")
    assert await _catalog_of(engine) == untouched
    await asyncio.to_thread(upgrade, empty_database_url)

    assert await _catalog_of(engine) == first
    assert len(first["columns"]) > 100


async def test_autogenerate_finds_no_difference(empty_database_url: str, engine: AsyncEngine) -> None:
    await asyncio.to_thread(upgrade, empty_database_url)

    def differences(connection: Connection) -> list[Any]:
        options = {"compare_type": True, "compare_server_default": True}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_the_tables_are_made_alike_by_the_migrations_and_by_the_metadata(
    empty_database_url: str, engine: AsyncEngine
) -> None:
    await asyncio.to_thread(upgrade, empty_database_url)
    migrated = await _catalog_of(engine)
    await asyncio.to_thread(downgrade, empty_database_url, "base")

    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    described = await _catalog_of(engine)

    for kind in CATALOG:
        assert migrated[kind] == described[kind]
    assert any("audit_log_is_append_only" in trigger for trigger in migrated["triggers"])


async def test_it_is_known_whether_the_database_is_up_to_date(empty_database_url: str, engine: AsyncEngine) -> None:
    assert not await is_at_head(engine)
    await asyncio.to_thread(upgrade, empty_database_url)
    assert await is_at_head(engine)


async def test_instances_that_start_at_the_same_time_migrate_once(empty_database_url: str, engine: AsyncEngine) -> None:
    await asyncio.gather(*(_alembic("upgrade", "head", url=empty_database_url) for _ in range(3)))

    assert await is_at_head(engine)


async def test_it_can_be_called_from_several_threads(empty_database_url: str, engine: AsyncEngine) -> None:
    await asyncio.gather(*(asyncio.to_thread(upgrade, empty_database_url) for _ in range(3)))

    assert await is_at_head(engine)


async def test_a_database_of_a_newer_version_is_refused_in_words(empty_database_url: str, engine: AsyncEngine) -> None:
    await asyncio.to_thread(upgrade, empty_database_url)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(Unavailable, match="does not fit the database"):
        await asyncio.to_thread(upgrade, empty_database_url)
    assert not await is_at_head(engine)


async def test_a_migration_that_fails_leaves_nothing(empty_database_url: str, engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE publications (id int)"))
    before = await _catalog_of(engine)

    with pytest.raises(Unavailable, match="holds tables that are not this server's: give it an empty database"):
        await asyncio.to_thread(upgrade, empty_database_url)

    assert await _catalog_of(engine) == before


async def test_a_user_who_may_make_no_tables_is_told_with_the_cure(
    empty_database_url: str, engine: AsyncEngine
) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("CREATE ROLE guest LOGIN"))
    try:
        with pytest.raises(Unavailable, match="GRANT CREATE ON SCHEMA public TO the user"):
            await asyncio.to_thread(upgrade, empty_database_url.replace("//postgres@", "//guest@"))
    finally:
        async with engine.begin() as connection:
            await connection.execute(text("DROP ROLE guest"))


async def test_an_unreachable_database_is_reported_as_such() -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        await asyncio.to_thread(upgrade, "postgresql://nobody@127.0.0.1:1/nothing")


async def test_a_database_of_another_encoding_is_refused(empty_database_url: str) -> None:
    address, _, rest = empty_database_url.partition("?")
    server, _, name = address.rpartition("/")
    engine = create_engine(empty_database_url, pool_size=1)
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(
            text(
                f"CREATE DATABASE {name}_ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0 LOCALE_PROVIDER libc"
            )
        )
        try:
            with pytest.raises(Unavailable, match="UTF8, and it has SQL_ASCII"):
                await asyncio.to_thread(upgrade, f"{server}/{name}_ascii?{rest}")
        finally:
            await connection.execute(text(f"DROP DATABASE {name}_ascii WITH (FORCE)"))
    await engine.dispose()


async def test_the_alembic_command_works_from_any_folder(
    empty_database_url: str, engine: AsyncEngine, tmp_path: Path
) -> None:
    await _alembic("upgrade", "head", url=empty_database_url, folder=tmp_path)
    assert await is_at_head(engine)

    await _alembic("check", url=empty_database_url, folder=tmp_path)


async def test_the_migrations_can_be_had_as_a_script(empty_database_url: str, engine: AsyncEngine) -> None:
    script = await _alembic("upgrade", "head", "--sql", url="")
    async with engine.connect() as connection:
        driver_connection = (await connection.get_raw_connection()).driver_connection
        assert driver_connection is not None
        await driver_connection.execute(script)

    assert await is_at_head(engine)


async def _alembic(*arguments: str, url: str, folder: Path = PROJECT) -> str:
    """The output of the alembic command."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "alembic", "--config", str(PROJECT / "pyproject.toml"), *arguments),
        cwd=folder,
        env={**os.environ, "DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, complaint = await process.communicate()
    assert process.returncode == 0, complaint.decode()
    return output.decode()


async def test_the_built_in_providers_are_known(database_url: str) -> None:
    engine = create_engine(database_url, pool_size=1)
    async with PostgresStore(engine).begin() as tx:
        providers = await tx.providers.list_active()
    await engine.dispose()

    assert [(each.id, each.kind, each.name) for each in providers] == [
        ("openai", ProviderKind.OPENAI, "OpenAI"),
        ("anthropic", ProviderKind.ANTHROPIC, "Anthropic"),
        ("deepseek", ProviderKind.DEEPSEEK, "DeepSeek"),
        ("demo", ProviderKind.DEMO, "Demo (offline, no AI)"),
    ]
    openai, anthropic, deepseek, demo = providers
    assert all(each.models and each.api_endpoint is None for each in providers)
    assert demo.models[0].id == "demo-writer"
    assert all(ModelParameter.TEMPERATURE not in model.parameters for model in (*openai.models, *anthropic.models))
    assert all(ModelParameter.TEMPERATURE in model.parameters for model in deepseek.models)
    assert openai.models[0].context_window == 1_050_000
