"""Budgets and estimates through the API of the whole product; a token of the demo's answers costs a dollar here."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from ops.config import Config
from tests.api.product import Person, product
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("within_one_day")

GENERATE = """
mutation ($input: GenerateContentInput!) {
  generateContent(input: $input) {
    generation { id status cost }
    errors { message code field retryAfterSeconds resetsAt }
  }
}
"""
CONTENT = "query ($id: ID!) { generation(id: $id) { content } }"
BILL = "query ($id: ID!) { generation(id: $id) { cost usage { isEstimated outputTokens } } }"
CANCEL = "mutation ($input: IdInput!) { cancelGeneration(input: $input) { generation { status } errors { code } } }"
BUDGETS = """
{
  viewer {
    budget { period limit }
    budgets { period limit spent reserved remaining unpricedCount resetsAt }
  }
}
"""
SET = """
mutation ($input: SetBudgetInput!) {
  setBudget(input: $input) { limit { user { username } role period limit } errors { message code field } }
}
"""
ROLES = "{ roleBudgets { user { id } role period limit } }"
USAGE_OF = "{ viewer { usage { callCount outputTokens cost } } }"
USAGE = """
query ($from: DateTime!, $to: DateTime!, $groupBy: [UsageGroup!]!) {
  usage(from: $from, to: $to, groupBy: $groupBy) {
    day providerId model userId username totals { callCount cost }
  }
}
"""
ESTIMATE = """
query ($input: EstimateInput!) {
  estimate(input: $input) {
    provider { id } model { id } inputTokens maxOutputTokens minCost maxCost reserved isWithinBudget budgets { period }
  }
}
"""
TEN = Config(budget_user_day_usd=Decimal(10), generations_per_minute=0, cost_per_minute=0)
ONE_TOKEN = {"prompt": "Say one word.", "parameters": {"maxOutputTokens": 1}}


async def execute(database_url: str, statement: str) -> None:
    """Runs it on the database, as an administrator would who has no mutation for it."""
    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
async def priced_url(database_url: str) -> str:
    """A database in which the demo is not free: a token of answer costs a dollar."""
    await execute(
        database_url,
        """UPDATE ai_providers SET config = '{"prices": {"demo-writer": {"input": 0, "output": "1000000"}}}'
        WHERE id = 'demo'""",
    )
    return database_url


@pytest.fixture
async def unpriced_url(database_url: str) -> str:
    """A database in which the demo has a name that no price list knows."""
    await execute(database_url, "UPDATE ai_providers SET id = 'local' WHERE id = 'demo'")
    return database_url


async def day(person: Person) -> dict[str, Any]:
    """The day's budget."""
    budgets: list[dict[str, Any]] = (await person.ask(BUDGETS))["viewer"]["budgets"]
    assert [each["period"] for each in budgets] == ["DAY", "MONTH"]
    return budgets[0]


async def nothing_reserved(person: Person) -> dict[str, Any]:
    """The day's budget, once nothing is reserved any more."""
    async with asyncio.timeout(90):
        while True:
            budget = await day(person)
            if not Decimal(budget["reserved"]):
                return budget
            await asyncio.sleep(0.05)


async def administrator(database_url: str, person: Person) -> Person:
    """Them, with an administrator's rights."""
    await execute(database_url, "UPDATE users SET role = 'ADMIN' WHERE username = 'root'")
    return person


async def test_two_hundred_requests_at_once_against_a_budget_of_ten(priced_url: str) -> None:
    async with product(priced_url, config=TEN) as running:
        ada = await running.person()

        async def ask() -> Any:
            while True:
                body = (await ada.request(GENERATE, input=ONE_TOKEN)).json()
                refusals = [each["extensions"]["code"] for each in body.get("errors", ())]
                if not refusals:
                    payload = body["data"]["generateContent"]
                    refusals = [each["code"] for each in payload["errors"]]
                    if refusals != ["UNAVAILABLE"]:
                        return payload
                # A slow machine turns some of a crowd away, who then come again.
                assert refusals == ["UNAVAILABLE"]

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask()) for _ in range(200)]
        payloads = [task.result() for task in tasks]
        passed = [each for each in payloads if each["generation"] is not None]
        refused = [each["errors"][0] for each in payloads if each["generation"] is None]

        assert (len(passed), len(refused)) == (10, 190)
        assert {each["code"] for each in refused} == {"QUOTA_EXCEEDED"}
        error = refused[0]
        resets_at = datetime.fromisoformat(error["resetsAt"])
        assert (resets_at.hour, resets_at.minute) == (0, 0)
        assert 0 < error["retryAfterSeconds"] <= 24 * 60 * 60
        budget = await nothing_reserved(ada)
        assert [Decimal(budget[name]) for name in ("spent", "remaining", "limit")] == [10, 0, 10]


async def test_a_request_that_is_repeated_takes_from_the_budget_once(priced_url: str) -> None:
    async with product(priced_url, config=Config(budget_user_day_usd=Decimal(1))) as running:
        ada = await running.person()
        wanted = {**ONE_TOKEN, "idempotencyKey": "k"}
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ada.do(GENERATE, input=wanted)) for _ in range(5)]
        assert len({task.result()["generation"]["id"] for task in tasks}) == 1
        assert Decimal((await nothing_reserved(ada))["spent"]) == 1
        assert (await ada.ask(GENERATE, input=ONE_TOKEN))["generateContent"]["errors"][0]["code"] == "QUOTA_EXCEEDED"


async def test_what_is_stopped_gives_its_reservation_back_and_costs_what_has_come(priced_url: str) -> None:
    limits = Config(budget_user_day_usd=Decimal(1_000), max_running_generations_per_user=1)
    async with product(priced_url, config=limits, tokens_per_second=20) as running:
        ada = await running.person()
        first, second = [
            (await ada.do(GENERATE, input={"prompt": "Long.", "parameters": {"maxOutputTokens": 400}}))["generation"]
            for _ in range(2)
        ]
        assert Decimal((await day(ada))["reserved"]) == 800
        assert (await ada.do(CANCEL, input={"id": second["id"]}))["generation"]["status"] == "CANCELLED"
        assert Decimal((await day(ada))["reserved"]) == 400

        async def is_writing() -> bool:
            return bool((await ada.ask(CONTENT, id=first["id"]))["generation"]["content"])

        await until(is_writing)
        await ada.do(CANCEL, input={"id": first["id"]})
        budget = await nothing_reserved(ada)
        found = (await ada.ask(BILL, id=first["id"]))["generation"]

        assert Decimal(found["cost"]) == found["usage"]["outputTokens"] == Decimal(budget["spent"])
        assert 0 < Decimal(budget["spent"]) < 400
        assert found["usage"]["isEstimated"]


async def test_administrators_set_budgets_for_users_and_roles(priced_url: str) -> None:
    async with product(priced_url, config=TEN) as running:
        ada, root = await running.person("ada"), await running.person("root")
        assert await ada.fail(SET, input={"role": "USER", "period": "DAY", "limit": "99"}) == ("FORBIDDEN", None)
        assert (await ada.refused(ROLES))["code"] == "FORBIDDEN"
        root = await administrator(priced_url, root)
        user = ada.credentials["user"]["id"]

        async def set_budget(**input_: object) -> Any:
            return (await root.do(SET, input=input_))["limit"]

        assert await set_budget(role="USER", period="MONTH", limit="0.000001") == {
            "user": None,
            "role": "USER",
            "period": "MONTH",
            "limit": "0.000001",
        }
        assert (await ada.ask(BUDGETS))["viewer"]["budget"] == {"period": "MONTH", "limit": "0.000001"}
        assert (await set_budget(user=user, period="MONTH", isUnlimited=True))["limit"] is None
        assert await set_budget(user=user, period="DAY", limit=2.5) == {
            "user": {"username": "ada"},
            "role": None,
            "period": "DAY",
            "limit": "2.5",
        }
        assert (await ada.ask(BUDGETS))["viewer"]["budget"] == {"period": "DAY", "limit": "2.5"}
        assert (await set_budget(user=user, period="DAY"))["limit"] == "10", "the configuration's again"
        roles = (await root.ask(ROLES))["roleBudgets"]
        assert [(each["role"], each["period"], each["limit"]) for each in roles] == [
            ("USER", "DAY", "10"),
            ("USER", "MONTH", "0.000001"),
            ("ADMIN", "DAY", None),
            ("ADMIN", "MONTH", None),
        ]


@pytest.mark.parametrize(
    ("input_", "field"),
    [
        ({"period": "DAY", "limit": "1"}, "user"),
        ({"role": "USER", "user": "me", "period": "DAY", "limit": "1"}, "user"),
        ({"role": "USER", "period": "DAY", "limit": "-1"}, "limit"),
        ({"role": "USER", "period": "DAY", "limit": "0.0000001"}, "limit"),
        ({"role": "USER", "period": "DAY", "limit": "1", "isUnlimited": True}, "limit"),
    ],
)
async def test_a_budget_that_makes_no_sense_is_refused(database_url: str, input_: dict[str, Any], field: str) -> None:
    async with product(database_url) as running:
        root = await administrator(database_url, await running.person("root"))
        me = root.credentials["user"]["id"]
        given = {name: me if value == "me" else value for name, value in input_.items()}
        assert await root.fail(SET, input=given) == ("INVALID_INPUT", ["input", field])


async def test_an_unpriced_model_counts_as_nothing(unpriced_url: str) -> None:
    async with product(unpriced_url, config=TEN) as running:
        ada = await running.person()
        payload = await ada.do(GENERATE, input={**ONE_TOKEN, "wait": True})
        assert payload["generation"]["cost"] is None
        budget = await day(ada)
        assert Decimal(budget["spent"]) == 0
        assert budget["unpricedCount"] == 1
        found = (await ada.ask(ESTIMATE, input={"prompt": "Hello."}))["estimate"]
        assert (found["minCost"], found["maxCost"], found["reserved"], found["isWithinBudget"]) == (
            None,
            None,
            None,
            True,
        )


async def test_where_the_configuration_says_so_an_unpriced_model_is_refused(unpriced_url: str) -> None:
    strict = Config(budget_user_day_usd=Decimal(10), budget_unpriced="REFUSE")
    async with product(unpriced_url, config=strict) as running:
        bob = await running.person("bob")
        payload = (await bob.ask(GENERATE, input=ONE_TOKEN))["generateContent"]
        assert (payload["errors"][0]["code"], payload["errors"][0]["resetsAt"]) == ("QUOTA_EXCEEDED", None)
        assert not (await bob.ask(ESTIMATE, input={"prompt": "Hello."}))["estimate"]["isWithinBudget"]


async def test_an_estimate_tells_before_what_it_will_cost(priced_url: str) -> None:
    async with product(priced_url, config=TEN) as running:
        ada = await running.person()
        found = (await ada.ask(ESTIMATE, input={"prompt": "abcd" * 10, "parameters": {"maxOutputTokens": 7}}))[
            "estimate"
        ]
        assert found == {
            "provider": {"id": "demo"},
            "model": {"id": "demo-writer"},
            "inputTokens": 18,
            "maxOutputTokens": 7,
            "minCost": "0",
            "maxCost": "7",
            "reserved": "7",
            "isWithinBudget": True,
            "budgets": [{"period": "DAY"}, {"period": "MONTH"}],
        }
        dear = {"prompt": "Hello.", "parameters": {"maxOutputTokens": 11}}
        assert not (await ada.ask(ESTIMATE, input=dear))["estimate"]["isWithinBudget"]
        assert (await ada.refused(ESTIMATE, input={"prompt": " "}))["code"] == "INVALID_INPUT"
        assert (await ada.ask("{ viewer { history(first: 1) { totalCount } } }"))["viewer"]["history"][
            "totalCount"
        ] == 0
        assert datetime.fromisoformat((await day(ada))["resetsAt"]) > datetime.now(UTC)


async def test_usage_is_told_to_its_user_and_to_administrators(priced_url: str) -> None:
    async with product(priced_url) as running:
        ada, bob, root = [await running.person(name) for name in ("ada", "bob", "root")]
        for person, tokens in ((ada, 3), (ada, 2), (bob, 1)):
            await person.do(GENERATE, input={"prompt": "Go.", "parameters": {"maxOutputTokens": tokens}, "wait": True})
        totals = (await ada.ask(USAGE_OF))["viewer"]["usage"]
        assert {**totals, "cost": Decimal(totals["cost"])} == {"callCount": 2, "outputTokens": 5, "cost": 5}
        now = datetime.now(UTC)
        period = {"from": (now - timedelta(days=1)).isoformat(), "to": (now + timedelta(days=1)).isoformat()}
        assert (await ada.refused(USAGE, **period, groupBy=[]))["code"] == "FORBIDDEN"
        await administrator(priced_url, root)
        buckets = (await root.ask(USAGE, **period, groupBy=["DAY", "PROVIDER", "MODEL", "USER"]))["usage"]
        assert [(each["username"], each["totals"]["callCount"]) for each in buckets] == [("ada", 2), ("bob", 1)]
        assert [Decimal(each["totals"]["cost"]) for each in buckets] == [5, 1]
        assert buckets[0]["userId"] == ada.credentials["user"]["id"]
        assert {(each["providerId"], each["model"]) for each in buckets} == {("demo", "demo-writer")}
        assert len(buckets[0]["day"]) == len("2026-11-30")
        (whole,) = (await root.ask(USAGE, **period, groupBy=[]))["usage"]
        assert (whole["day"], whole["totals"]["callCount"]) == (None, 3)
        backwards = {"from": period["to"], "to": period["from"]}
        assert (await root.refused(USAGE, **backwards, groupBy=[]))["code"] == "INVALID_INPUT"
