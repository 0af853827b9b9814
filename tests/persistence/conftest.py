"""A store on a new database, and somebody to own what is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.account import User
from persistence.engine import create_engine
from persistence.store import PostgresStore
from tests.persistence.samples import add_user


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine with as many connections as any race here needs."""
    engine = create_engine(database_url, pool_size=12)
    yield engine
    await engine.dispose()


@pytest.fixture
def store(engine: AsyncEngine) -> PostgresStore:
    """The store under test."""
    return PostgresStore(engine)


@pytest.fixture
async def ada(store: PostgresStore) -> User:
    """A user."""
    return await add_user(store, "ada")


@pytest.fixture
async def bob(store: PostgresStore) -> User:
    """Another user."""
    return await add_user(store, "bob")
