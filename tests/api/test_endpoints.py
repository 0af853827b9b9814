"""Endpoints that administrators add: who may, what is checked, what is asked, and when their keys are cleared."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from tests.api.assistant import GENERATE, at_work, everything_in, start, stored
from tests.api.product import Product
from tests.standins.deepseek import DeepSeekStandin
from tests.standins.server import running

ADD = """
mutation Add($input: AddProviderInput!) {
  addProvider(input: $input) {
    provider {
      id name isAvailable unavailableReason requiresKey defaultModel models { id }
      administration { baseUrl isBuiltIn }
    }
    errors { message code field }
  }
}
"""
UPDATE = """
mutation Update($input: UpdateProviderInput!) {
  updateProvider(input: $input) {
    provider {
      id name defaultModel requiresKey
      administration { isActive baseUrl models { id contextWindow parameters } }
    }
    errors { message code field }
  }
}
"""
REMOVE = """
mutation Remove($input: RemoveProviderInput!) {
  removeProvider(input: $input) { removedId errors { message code field } }
}
"""
PROVIDERS = "query ($all: Boolean!) { providers(includeInactive: $all) { id administration { isActive } } }"
OFFERED = "{ providers { id isAvailable models { id } } }"
KEYS = "{ viewer { apiKeys { provider { id } hint } } }"
ADD_KEY = """
mutation AddKey($input: AddApiKeyInput!) { addApiKey(input: $input) { apiKey { id } errors { message code field } } }
"""
LOGIN = "mutation ($input: LoginInput!) { login(input: $input) { accessToken errors { code message } } }"
KEY = "sk-9f8e7d6c5b4a39281706f5e4d3c2b1a0"


@asynccontextmanager
async def with_endpoint(database_url: str) -> AsyncIterator[tuple[Product, DeepSeekStandin, str]]:
    """The product beside a server that speaks Chat Completions on this machine, which the operator allows."""
    standin = DeepSeekStandin()
    async with (
        running(standin) as base_url,
        at_work(database_url, settings={"private_endpoints": "127.0.0.0/8"}) as product,
    ):
        yield product, standin, f"{base_url}/v1"


async def audited(database_url: str, action: str) -> list[dict[str, Any]]:
    """What the audit log tells of an action."""
    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    try:
        rows = await connection.fetch(
            "SELECT target, details::text FROM audit_log WHERE action = $1 ORDER BY at", action
        )
        return [dict(row) for row in rows]
    finally:
        await connection.close()


async def test_an_endpoint_without_keys_is_there_for_everybody(database_url: str) -> None:
    async with with_endpoint(database_url) as (product, standin, base_url):
        root, ada = await product.administrator(), await product.person()
        added = await root.do(
            ADD,
            input={
                "id": "lab",
                "name": "The lab",
                "baseUrl": f"{base_url}/",
                "requiresKey": False,
                "defaultModel": "deepseek-v4-pro",
            },
        )

        assert added["provider"] == {
            "id": "lab",
            "name": "The lab",
            "isAvailable": True,
            "unavailableReason": None,
            "requiresKey": False,
            "defaultModel": "deepseek-v4-pro",
            # The stand-in tells nobody without a key.
            "models": [],
            "administration": {"baseUrl": base_url, "isBuiltIn": False},
        }
        offered = (await ada.ask(OFFERED))["providers"]
        assert next(each for each in offered if each["id"] == "lab")["isAvailable"]
        found = await stored(ada, await start(ada, provider="lab", wait=True))
        assert (found["model"]["id"], found["error"]["reason"]) == ("deepseek-v4-pro", "AUTHENTICATION")
        assert "authorization" not in standin.requests[-1].headers
        await ada.do(ADD_KEY, input={"provider": "lab", "key": KEY})
        found = await stored(ada, await start(ada, provider="lab", wait=True))
        assert (found["status"], found["cost"]) == ("SUCCEEDED", None)
        offered = (await ada.ask(OFFERED))["providers"]
        assert next(each for each in offered if each["id"] == "lab")["models"] == [
            {"id": "deepseek-flash"},
            {"id": "deepseek-v4-pro"},
        ]
        standin.requests.pop()
        assert standin.requests[-1].headers["authorization"] == f"Bearer {KEY}"


async def test_another_address_clears_every_key_that_is_stored_for_it(database_url: str) -> None:
    async with (
        with_endpoint(database_url) as (product, _, base_url),
        running(elsewhere := DeepSeekStandin()) as other_url,
    ):
        root, ada, bob = await product.administrator(), await product.person("ada"), await product.person("bob")
        await root.do(ADD, input={"id": "lab", "name": "The lab", "baseUrl": base_url})
        for person in (ada, bob):
            await person.do(ADD_KEY, input={"provider": "lab", "key": KEY})
            await person.do(ADD_KEY, input={"provider": "openai", "key": KEY})
        await root.do(UPDATE, input={"id": "lab", "name": "Our lab"})
        assert len((await ada.ask(KEYS))["viewer"]["apiKeys"]) == 2

        await root.do(UPDATE, input={"id": "lab", "baseUrl": other_url})

        for person in (ada, bob):
            keys = (await person.ask(KEYS))["viewer"]["apiKeys"]
            assert [key["provider"]["id"] for key in keys] == ["openai"]
        assert (await ada.fail(GENERATE, input={"prompt": "Hi", "provider": "lab"})) == (
            "INVALID_INPUT",
            ["input", "provider"],
        )
        assert elsewhere.requests == []
        (_, told) = await audited(database_url, "PROVIDER_UPDATED")
        assert told["target"] == "provider:lab"
        assert '"keys_removed": 2' in told["details"]


async def test_what_is_known_of_its_models_is_told_and_corrected(database_url: str) -> None:
    async with with_endpoint(database_url) as (product, _, base_url):
        root = await product.administrator()
        await root.do(ADD, input={"id": "lab", "name": "The lab", "baseUrl": base_url})
        models = [{"id": "deepseek-flash", "contextWindow": 8_000, "parameters": ["TEMPERATURE"]}]
        changed = await root.do(UPDATE, input={"id": "lab", "models": models, "defaultModel": "deepseek-flash"})
        assert changed["provider"]["administration"]["models"] == models
        assert changed["provider"]["defaultModel"] == "deepseek-flash"
        changed = await root.do(UPDATE, input={"id": "lab", "defaultModel": None})
        assert changed["provider"]["defaultModel"] is None
        assert changed["provider"]["administration"]["models"] == models


async def test_one_that_is_switched_off_is_not_offered(database_url: str) -> None:
    async with with_endpoint(database_url) as (product, _, base_url):
        root, ada = await product.administrator(), await product.person()
        await root.do(ADD, input={"id": "lab", "name": "The lab", "baseUrl": base_url, "requiresKey": False})
        await root.do(UPDATE, input={"id": "lab", "isActive": False})
        await root.do(UPDATE, input={"id": "deepseek", "isActive": False})

        offered = [each["id"] for each in (await ada.ask(OFFERED))["providers"]]
        assert not {"lab", "deepseek"} & set(offered)
        listed = {
            each["id"]: each["administration"]["isActive"]
            for each in (await root.ask(PROVIDERS, all=True))["providers"]
        }
        assert (listed["lab"], listed["deepseek"], listed["openai"]) == (False, False, True)
        assert (await ada.fail(GENERATE, input={"prompt": "Hi", "provider": "lab"}))[0] == "INVALID_INPUT"


async def test_one_is_removed_with_its_keys_unless_a_history_names_it(database_url: str) -> None:
    async with with_endpoint(database_url) as (product, _, base_url):
        root, ada = await product.administrator(), await product.person()
        for name in ("lab", "attic"):
            await root.do(ADD, input={"id": name, "name": name, "baseUrl": base_url})
            await ada.do(ADD_KEY, input={"provider": name, "key": KEY})
        await start(ada, provider="lab", wait=True)

        assert await root.fail(REMOVE, input={"id": "lab"}) == ("CONFLICT", None)
        assert len((await ada.ask(KEYS))["viewer"]["apiKeys"]) == 2
        assert (await root.do(REMOVE, input={"id": "attic"}))["removedId"] == "attic"
        assert [key["provider"]["id"] for key in (await ada.ask(KEYS))["viewer"]["apiKeys"]] == ["lab"]
        assert await root.fail(REMOVE, input={"id": "attic"}) == ("NOT_FOUND", ["input", "id"])
        assert await root.fail(REMOVE, input={"id": "openai"}) == ("CONFLICT", None)


async def test_only_administrators_may(database_url: str) -> None:
    async with with_endpoint(database_url) as (product, _, base_url):
        ada = await product.person()
        before = await everything_in(database_url)
        new = {"id": "lab", "name": "The lab", "baseUrl": base_url}
        assert await ada.fail(ADD, input=new) == ("FORBIDDEN", None)
        assert await ada.fail(UPDATE, input={"id": "openai", "isActive": False}) == ("FORBIDDEN", None)
        assert await ada.fail(REMOVE, input={"id": "openai"}) == ("FORBIDDEN", None)
        refused = (await ada.request(PROVIDERS, all=True)).json()["errors"]
        assert {error["extensions"]["code"] for error in refused} == {"FORBIDDEN"}
        refused = (await ada.request(PROVIDERS, all=False)).json()
        assert {error["extensions"]["code"] for error in refused["errors"]} == {"FORBIDDEN"}
        assert all(each["administration"] is None for each in refused["data"]["providers"])
        assert await everything_in(database_url) == before


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"id": "Lab"}, "id"),
    ({"id": "-"}, "id"),
    ({"name": " "}, "name"),
    ({"name": "two\nlines"}, "name"),
    ({"baseUrl": "ftp://127.0.0.1/v1"}, "baseUrl"),
    ({"baseUrl": "127.0.0.1/v1"}, "baseUrl"),
    ({"baseUrl": "http://user:secret@127.0.0.1/v1"}, "baseUrl"),
    ({"baseUrl": "http://127.0.0.1/v1?key=1"}, "baseUrl"),
    ({"baseUrl": "http://127.0.0.1:99999/v1"}, "baseUrl"),
    ({"baseUrl": "https://10.0.0.1/v1"}, "baseUrl"),
    ({"baseUrl": "https://2852039166/v1"}, "baseUrl"),
    ({"baseUrl": "https://[64:ff9b::7f00:1]/v1"}, "baseUrl"),
    ({"defaultModel": ""}, "defaultModel"),
    ({"models": [{"id": "a"}, {"id": "a"}]}, "models"),
]


async def test_what_breaks_a_rule_changes_nothing(database_url: str) -> None:
    async with at_work(database_url, settings={"private_endpoints": "127.0.0.0/8"}) as product:
        root = await product.administrator()
        before = await everything_in(database_url)
        for input_, field in WRONG:
            new = {"id": "lab", "name": "The lab", "baseUrl": "http://127.0.0.1:9/v1", **input_}
            assert await root.fail(ADD, input=new) == ("INVALID_INPUT", ["input", field]), input_
        path = ["input", "models", "1", "contextWindow"]
        new = {"id": "lab", "name": "The lab", "baseUrl": "http://127.0.0.1:9/v1"}
        new_models = [{"id": "a"}, {"id": "b", "contextWindow": 0}]
        assert await root.fail(ADD, input={**new, "models": new_models}) == ("INVALID_INPUT", path)
        assert await everything_in(database_url) == before


async def test_a_built_in_provider_stays_where_the_configuration_puts_it(database_url: str) -> None:
    """Its key may be the operator's, whom no administrator outranks."""
    async with at_work(database_url, settings={"private_endpoints": "127.0.0.0/8"}) as product:
        root = await product.administrator()
        before = await everything_in(database_url)
        for change, field in (
            ({"baseUrl": "http://127.0.0.1:9/v1"}, "baseUrl"),
            ({"requiresKey": False}, "requiresKey"),
        ):
            assert await root.fail(UPDATE, input={"id": "openai", **change}) == ("INVALID_INPUT", ["input", field])
        assert await root.fail(ADD, input={"id": "openai", "name": "O", "baseUrl": "http://127.0.0.1:9/v1"}) == (
            "CONFLICT",
            ["input", "id"],
        )
        assert await everything_in(database_url) == before
