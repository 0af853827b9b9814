"""An operation that takes too long is given up with a typed error, and holds nothing any more."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import httpx
import pytest

from ops.config import Config
from schema.transport import TransportLimits
from tests.api.graphql_socket import socket
from tests.api.product import LOGIN, PASSWORD, product
from tests.api.serving import serving
from tests.api.small_schema import Happenings, small_endpoint
from tests.api.unlimited import UNLIMITED
from tests.waiting import PATIENCE_SECONDS

GIVEN_UP = {"message": "The operation took too long, and was given up.", "extensions": {"code": "UNAVAILABLE"}}
CHANGE_PASSWORD = """
mutation ($input: ChangePasswordInput!) { changePassword(input: $input) { errors { code } } }
"""


@pytest.fixture
async def address(happenings: Happenings) -> AsyncIterator[str]:
    """Of an endpoint without patience, that runs two operations at a time on a socket."""
    limits = TransportLimits(operation_timeout=timedelta(seconds=0.2), max_operations_per_socket=2)
    async with serving(small_endpoint(happenings, limits=limits)) as address:
        yield address


async def test_over_http(http: httpx.AsyncClient, happenings: Happenings) -> None:
    for count in (1, 2):
        response = await http.post("/graphql", json={"query": "{ hello stuck }"})
        assert response.status_code == 503
        assert response.json() == {"errors": [GIVEN_UP]}
        await happenings.until_ended(count)
        assert happenings.running == 0
        assert (await http.post("/graphql", json={"query": "{ hello }"})).json() == {"data": {"hello": "Hello, world!"}}


async def test_over_a_stream(http: httpx.AsyncClient, happenings: Happenings) -> None:
    headers = {"accept": "text/event-stream"}
    response = await http.post("/graphql", json={"query": "{ stuck }"}, headers=headers)
    assert '"code":"UNAVAILABLE"' in response.text
    assert response.text.endswith("event: complete\ndata:\n\n")
    await happenings.until_ended(1)
    assert happenings.running == 0


async def test_over_a_socket_where_subscriptions_may_last(address: str, happenings: Happenings) -> None:
    async with socket(address) as ws:
        await ws.init()
        await ws.subscribe("watch", "subscription { endless }")
        assert (await ws.receive())["payload"] == {"data": {"endless": 1}}
        for count in (1, 2):  # the second would not be admitted if the first were still there
            await ws.subscribe("query", "{ stuck }")
            assert await ws.receive() == {"id": "query", "type": "error", "payload": [GIVEN_UP]}
            await happenings.until_ended(count)
        assert happenings.running == 1, "the subscription goes on"
        await ws.send({"id": "watch", "type": "complete"})
        await happenings.until_ended(3)


async def test_a_subscription_may_wait_for_its_first_event(address: str, happenings: Happenings) -> None:
    async with socket(address) as ws:
        await ws.init()
        await ws.subscribe("watch", "subscription { silent }")
        await ws.subscribe("query", "{ stuck }")
        assert (await ws.receive())["id"] == "query", "as long as a query may take, and the subscription still waits"
        happenings.speak.set()
        assert (await ws.receive())["payload"] == {"data": {"silent": 1}}


async def test_what_waits_for_the_database_gives_its_connection_back(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("schema.transport.OPERATION_GRACE", timedelta(0))
    config = Config.model_validate({"generation_timeout_seconds": 1, **UNLIMITED})
    async with product(database_url, config=config) as running:
        ada = await running.person("ada")
        store = running.assistant.store
        holder = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
        try:
            async with holder.transaction():
                await holder.execute("SELECT 1 FROM users FOR UPDATE")
                change = {"currentPassword": PASSWORD, "newPassword": "a quite different one, of length"}
                response = await ada.request(CHANGE_PASSWORD, input=change)
                assert response.status_code == 503
                assert response.json() == {"errors": [GIVEN_UP]}
                waiting = (
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                    "AND wait_event_type = 'Lock'"
                )
                async with asyncio.timeout(PATIENCE_SECONDS):
                    # The lock is still held: nobody waits for it any more, and no connection of the pool is taken.
                    while store.connections_in_use or await holder.fetchval(waiting):  # noqa: ASYNC110  (of another)
                        await asyncio.sleep(0.02)
                assert (await ada.ask("{ viewer { username } }")) == {"viewer": {"username": "ada"}}
        finally:
            await holder.close()
        await ada.do(LOGIN, input={"login": "ada", "password": PASSWORD})
