"""Too much in too little time is refused, in the form that each transport has for it, and says when to try again."""

import time
from types import SimpleNamespace
from typing import Any

import httpx
import limits.aio.storage.memory
import limits.aio.strategies
import pytest

from ops.config import Config
from tests.api.graphql_socket import socket
from tests.api.product import PASSWORD, REGISTER, product
from tests.api.small_schema import Happenings

LOGIN = "mutation ($input: LoginInput!) { login(input: $input) { accessToken errors { code retryAfterSeconds } } }"
GENERATE = """
mutation ($input: GenerateContentInput!) {
  generateContent(input: $input) { generation { id } errors { code retryAfterSeconds } }
}
"""
RATE_LIMIT = "{ rateLimit { cost limit remaining resetsAt } server { version } }"


async def test_each_operation_is_counted_with_its_cost(http: httpx.AsyncClient, happenings: Happenings) -> None:
    await http.post("/graphql", json={"query": "{ hello again { hello me } }"})
    assert happenings.spent == [4]
    for refused in ("{ nope }", "{"):
        await http.post("/graphql", json={"query": refused})
    assert happenings.spent == [4, 50, 50]


async def test_too_much_is_a_429_that_says_when_to_come_back(http: httpx.AsyncClient, happenings: Happenings) -> None:
    happenings.budget = 3
    for accept in ("application/json", "application/graphql-response+json"):
        response = await http.post("/graphql", json={"query": "{ hello me hello me }"}, headers={"accept": accept})
        assert response.status_code == 429
        assert response.headers["retry-after"] == "9"
        (error,) = response.json()["errors"]
        assert error["extensions"] == {"code": "RATE_LIMITED", "retryAfterSeconds": 9}
    assert happenings.spent == [4, 4]
    assert happenings.agents == []


async def test_who_was_told_to_come_back_later_is_turned_away_unread(
    http: httpx.AsyncClient, happenings: Happenings
) -> None:
    happenings.is_closed = True
    response = await http.post("/graphql", json={"query": "{ hello"})
    assert (response.status_code, response.headers["retry-after"]) == (429, "8")
    assert happenings.spent == []


async def test_too_much_over_a_socket_or_a_stream(
    http: httpx.AsyncClient, address: str, happenings: Happenings
) -> None:
    expected = {"code": "RATE_LIMITED", "retryAfterSeconds": 9}
    happenings.budget = 0
    async with socket(address) as ws:
        await ws.init()
        await ws.send({"id": "1", "type": "subscribe", "payload": {"query": "subscription { count }"}})
        message = await ws.receive()
        assert (message["type"], message["payload"][0]["extensions"]) == ("error", expected)
    headers = {"accept": "text/event-stream"}
    response = await http.post("/graphql", json={"query": "subscription { count }"}, headers=headers)
    assert '"RATE_LIMITED"' in response.text
    happenings.is_closed = True
    async with socket(address) as ws:
        await ws.init()
        await ws.send({"id": "1", "type": "subscribe", "payload": {"query": "subscription { count }"}})
        message = await ws.receive()
        assert (message["type"], message["payload"][0]["extensions"]["code"]) == ("error", "RATE_LIMITED")
    response = await http.post("/graphql", json={"query": "subscription { count }"}, headers=headers)
    assert response.status_code == 429


@pytest.fixture
def still_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The buckets' own clock stands still, so that nothing flows back into them."""
    now = time.time()
    for module in (limits.aio.storage.memory, limits.aio.strategies):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: now))


@pytest.mark.usefixtures("still_clock")
async def test_the_products_limits(database_url: str) -> None:
    config = Config(cost_per_minute=300, generations_per_minute=2, sign_ins_per_minute=3, sign_ups_per_hour=2)
    async with product(database_url, config=config) as running:
        ada, visitor = await running.person("ada"), await running.visitor()
        await running.person("grace")
        account = {"email": "eve@example.org", "username": "eve", "password": PASSWORD}
        assert await visitor.fail(REGISTER, input=account) == ("RATE_LIMITED", None)

        wrong = {"login": "ada", "password": "wrong"}
        for _ in range(3):
            assert await _code(visitor, LOGIN, input=wrong) == "UNAUTHENTICATED"
        response = await visitor.request(LOGIN, input={"login": "ada", "password": PASSWORD})
        (error,) = response.json()["data"]["login"]["errors"]
        assert error["code"] == "RATE_LIMITED"
        assert response.headers["retry-after"] == str(error["retryAfterSeconds"])

        for _ in range(2):
            assert await _code(ada, GENERATE, input={"prompt": "Hello."}) is None
        assert await _code(ada, GENERATE, input={"prompt": "Hello."}) == "RATE_LIMITED"
        assert (await ada.ask("{ viewer { history { totalCount } } }"))["viewer"]["history"]["totalCount"] == 2

        before = (await ada.ask(RATE_LIMIT))["rateLimit"]
        after = (await ada.ask(RATE_LIMIT))["rateLimit"]
        assert before["cost"] == after["cost"] == 7
        assert (before["limit"], before["remaining"] - after["remaining"]) == (300, 7)
        assert before["resetsAt"]
        answers = [await ada.request("{ viewer { history { totalCount } } }") for _ in range(30)]
        assert answers[-1].status_code == 429
        # everybody else goes on
        assert (await visitor.request(RATE_LIMIT)).status_code == 200


async def _code(person: Any, mutation: str, **variables: object) -> str | None:
    (payload,) = (await person.ask(mutation, **variables)).values()
    return next((error["code"] for error in payload["errors"]), None)
