"""Fixtures of the transport tests: the small schema, served."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.api.serving import serving
from tests.api.small_schema import Happenings, small_endpoint


@pytest.fixture(autouse=True)
def _quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a password's hash costs is shown elsewhere, and here it would be the most of what an account costs."""
    monkeypatch.setattr("integrations.passwords.MEMORY_KIB", 64)
    monkeypatch.setattr("integrations.passwords.TIME_COST", 1)


@pytest.fixture
def happenings() -> Happenings:
    """What the served schema has seen."""
    return Happenings()


@pytest.fixture
async def address(happenings: Happenings) -> AsyncIterator[str]:
    """Host and port of the small schema's endpoint."""
    async with serving(small_endpoint(happenings)) as address:
        yield address


@pytest.fixture
async def http(address: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of that server."""
    async with httpx.AsyncClient(base_url=f"http://{address}", timeout=60) as client:
        yield client
