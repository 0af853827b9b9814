"""What administrators set for single models: prices that are billed, estimated and budgeted with, and knobs."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from tests.api.assistant import GENERATE, at_work, everything_in, outside, start, stored
from tests.api.product import Person
from tests.api.test_attempts import KEYS
from tests.api.test_attempts import generation as billed
from tests.api.test_endpoints import ADD, ADD_KEY, KEY, audited, with_endpoint
from tests.standins.scenario import Scenario, Usage

OVERRIDE = """
mutation Override($input: UpdateProviderInput!) {
  updateProvider(input: $input) {
    provider {
      administration {
        models { id inputPrice outputPrice }
        modelOverrides { model price { input cachedInput cacheWrite output } parameters }
      }
    }
    errors { message code field }
  }
}
"""
ESTIMATE = "query ($input: EstimateInput!) { estimate(input: $input) { minCost maxCost reserved isWithinBudget } }"
MODEL_ESTIMATES = """
query ($input: EstimateInput!) {
  estimate(input: $input) {
    provider { id } minCost maxCost reserved isWithinBudget models { provider { id } maxCost reserved }
  }
}
"""
SETTINGS = """
mutation ($input: UpdateSettingsInput!) {
  updateSettings(input: $input) { settings { fallback { provider } } errors { code message field } }
}
"""
MODELS = "{ providers { id models { id inputPrice outputPrice parameters } } }"
SPENT = "{ viewer { budget { spent reserved unpricedCount } } }"
PRICE = {"input": "2.50", "cachedInput": "0.25", "output": "10"}
MODEL = "deepseek-flash"
UNKNOWN = {"prompt": "Hi", "provider": "lab", "model": MODEL}


async def override(root: Person, provider: str, *overrides: dict[str, Any]) -> list[dict[str, Any]]:
    """Sets them; answers all of the provider's."""
    payload = await root.do(OVERRIDE, input={"id": provider, "modelOverrides": list(overrides)})
    return list(payload["provider"]["administration"]["modelOverrides"])


async def model_of(person: Person, provider: str, model: str) -> dict[str, Any]:
    """The model as it is offered."""
    offered = (await person.ask(MODELS))["providers"]
    models = next(each["models"] for each in offered if each["id"] == provider)
    return dict(next(each for each in models if each["id"] == model))


async def test_a_price_of_ones_own_is_billed_estimated_and_budgeted_until_it_is_taken_back(database_url: str) -> None:
    usage = Usage(input_tokens=1_000_000, cached_tokens=400_000, output_tokens=10_000)
    async with with_endpoint(database_url) as (product, standin, base_url):
        root, ada = await product.administrator(), await product.person()
        await root.do(ADD, input={"id": "lab", "name": "The lab", "baseUrl": base_url})
        await ada.do(ADD_KEY, input={"provider": "lab", "key": KEY})
        assert (await model_of(ada, "lab", MODEL))["inputPrice"] is None
        assert (await ada.ask(ESTIMATE, input=UNKNOWN))["estimate"]["reserved"] is None

        assert await override(root, "lab", {"model": MODEL, "price": PRICE}) == [
            {
                "model": MODEL,
                "price": {"input": "2.50", "cachedInput": "0.25", "cacheWrite": "2.50", "output": "10"},
                "parameters": None,
            }
        ]
        # At once, although the list of models is kept for an hour.
        found = await model_of(ada, "lab", MODEL)
        assert (found["inputPrice"], found["outputPrice"]) == ("2.50", "10")
        wanted = {**UNKNOWN, "parameters": {"maxOutputTokens": 100_000}}
        estimate = (await ada.ask(ESTIMATE, input=wanted))["estimate"]
        assert Decimal(estimate["maxCost"]) - Decimal(estimate["minCost"]) == 1
        assert estimate["reserved"] == estimate["maxCost"]

        standin.enqueue(Scenario(usage=usage))
        bill = await billed(ada, await start(ada, provider="lab", model=MODEL, wait=True))
        assert Decimal(bill["cost"]) == Decimal("1.5") + Decimal("0.1") + Decimal("0.1")
        assert bill["attempts"][0]["priceVersion"].startswith("own: input 2.50, cached 0.25")
        spent = (await ada.ask(SPENT))["viewer"]["budget"]
        assert [Decimal(spent[name]) for name in ("spent", "reserved")] == [Decimal(bill["cost"]), 0]

        assert await override(root, "lab", {"model": MODEL, "price": None}) == []
        standin.enqueue(Scenario(usage=usage))
        bill = await billed(ada, await start(ada, provider="lab", model=MODEL, wait=True))
        assert bill["cost"] is None
        spent = (await ada.ask(SPENT))["viewer"]["budget"]
        assert (Decimal(spent["spent"]), spent["unpricedCount"]) == (Decimal("1.7"), 1)

        told = [json.loads(each["details"]) for each in await audited(database_url, "PROVIDER_UPDATED")]
        assert [each["changed"] for each in told] == [["model_overrides"]] * 2
        assert [each["model_overrides"] for each in told] == [
            [{"model": MODEL, "price": {"input": "2.50", "output": "10", "cached_input": "0.25"}}],
            [{"model": MODEL, "price": None}],
        ]


async def test_a_price_keeps_people_within_their_budgets(database_url: str) -> None:
    async with (
        outside() as world,
        at_work(database_url, world, {**KEYS, "budget_user_day_usd": "1"}) as running,
    ):
        root, ada = await running.administrator(), await running.person()
        wanted = {"prompt": "Hi", "provider": "deepseek", "model": MODEL, "parameters": {"maxOutputTokens": 1_000}}
        assert (await ada.ask(ESTIMATE, input=wanted))["estimate"]["isWithinBudget"]
        await override(root, "deepseek", {"model": MODEL, "price": {"input": 0, "output": "2000"}})
        assert not (await ada.ask(ESTIMATE, input=wanted))["estimate"]["isWithinBudget"]
        assert (await ada.ask(GENERATE, input=wanted))["generateContent"]["errors"][0]["code"] == "QUOTA_EXCEEDED"
        await override(root, "deepseek", {"model": MODEL, "price": None})
        await ada.do(GENERATE, input=wanted)


async def test_what_a_model_takes_is_an_administrators_word_until_it_is_taken_back(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, KEYS) as running:
        root, ada = await running.administrator(), await running.person()
        warm = {"prompt": "Hi", "provider": "openai", "model": "gpt-6.1-sol", "parameters": {"temperature": 0.5}}
        refused = ("INVALID_INPUT", ["input", "parameters", "temperature"])
        assert await ada.fail(GENERATE, input=warm) == refused

        taken = {"model": "gpt-6.1-sol", "parameters": ["TEMPERATURE", "MAX_OUTPUT_TOKENS"]}
        (told,) = await override(root, "openai", taken)
        assert told == {**taken, "price": None, "parameters": ["MAX_OUTPUT_TOKENS", "TEMPERATURE"]}
        assert (await model_of(ada, "openai", "gpt-6.1-sol"))["parameters"] == told["parameters"]
        # The stand-in keeps OpenAI's own rule: what was said is wrong, and what is sent shows that it was heeded.
        found = await billed(ada, (await ada.do(GENERATE, input={**warm, "wait": True}))["generation"]["id"])
        assert found["attempts"][0]["parameters"]["temperature"] == 0.5
        slow = {**warm, "parameters": {"reasoningEffort": "LOW"}}
        assert await ada.fail(GENERATE, input=slow) == ("INVALID_INPUT", ["input", "parameters", "reasoningEffort"])

        # A price changes nothing of it, and another model's neither.
        both = await override(root, "openai", {"model": "gpt-6.1-sol", "price": PRICE}, {"model": "x", "price": PRICE})
        assert [(each["model"], each["parameters"]) for each in both] == [
            ("gpt-6.1-sol", told["parameters"]),
            ("x", None),
        ]
        (rest,) = await override(
            root, "openai", {"model": "gpt-6.1-sol", "price": None, "parameters": None}, {"model": "y", "price": None}
        )
        assert rest["model"] == "x"
        assert await ada.fail(GENERATE, input=warm) == refused


async def test_an_endpoint_may_be_added_with_them(database_url: str) -> None:
    async with with_endpoint(database_url) as (product, standin, base_url):
        root, ada = await product.administrator(), await product.person()
        overrides = [{"model": MODEL, "price": PRICE, "parameters": ["TEMPERATURE"]}]
        new = {"id": "lab", "name": "The lab", "baseUrl": base_url, "modelOverrides": overrides}
        await root.do(ADD, input=new)
        await ada.do(ADD_KEY, input={"provider": "lab", "key": KEY})
        standin.enqueue(Scenario(usage=Usage(input_tokens=0, output_tokens=1_000)))
        found = await stored(ada, await start(ada, provider="lab", model=MODEL, wait=True))
        assert Decimal(found["cost"]) == Decimal("0.01")
        capped = {**UNKNOWN, "parameters": {"maxOutputTokens": 9}}
        assert await ada.fail(GENERATE, input=capped) == ("INVALID_INPUT", ["input", "parameters", "maxOutputTokens"])
        (event,) = await audited(database_url, "PROVIDER_ADDED")
        assert json.loads(event["details"])["model_overrides"][0]["parameters"] == ["TEMPERATURE"]


WRONG: list[tuple[list[dict[str, Any]], list[str]]] = [
    ([{"model": " ", "price": PRICE}], ["0", "model"]),
    ([{"model": "a\nb", "price": PRICE}], ["0", "model"]),
    ([{"model": "m" * 201, "price": PRICE}], ["0", "model"]),
    ([{"model": "m", "price": PRICE}, {"model": "m", "price": None}], []),
    ([{"model": "m", "price": PRICE}, {"model": "n", "price": {**PRICE, "input": "-1"}}], ["1", "price"]),
    ([{"model": "m", "price": {**PRICE, "cacheWrite": "1000001"}}], ["0", "price"]),
    ([{"model": "m", "price": {**PRICE, "output": "0.0000000001"}}], ["0", "price"]),
    ([{"model": "m", "parameters": []}], ["0", "parameters"]),
    ([{"model": "m", "parameters": ["TEMPERATURE", "STOP_SEQUENCES"]}], ["0", "parameters"]),
    ([{"model": f"m-{number}", "price": PRICE} for number in range(201)], []),
]


async def test_what_makes_no_sense_is_refused_by_its_place_and_changes_nothing(database_url: str) -> None:
    async with at_work(database_url) as running:
        root = await running.administrator()
        before = await everything_in(database_url)
        for overrides, place in WRONG:
            failed = await root.fail(OVERRIDE, input={"id": "openai", "modelOverrides": overrides})
            assert failed == ("INVALID_INPUT", ["input", "modelOverrides", *place]), overrides[:2]
        assert await everything_in(database_url) == before


async def test_an_estimate_tells_of_each_model_that_can_come_to_answer(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, {**KEYS, "budget_user_day_usd": "5"}) as running:
        root, ada = await running.administrator(), await running.person()
        # A token of prompt is free, one of an answer costs half a dollar, or one.
        for provider, model, dollars in (("openai", "gpt-6.1-sol", "0.5"), ("anthropic", "claude-haiku-5-5", "1")):
            price = {"input": 0, "output": str(1_000_000 * Decimal(dollars))}
            await override(root, provider, {"model": model, "price": price})
        asked = {
            "prompt": "Hi",
            "provider": "openai",
            "model": "gpt-6.1-sol",
            "parameters": {"maxOutputTokens": 4},
        }

        alone = (await ada.ask(MODEL_ESTIMATES, input=asked))["estimate"]
        assert [alone[name] for name in ("minCost", "maxCost", "reserved")] == ["0.0", "2.0", "2.0"]
        assert alone["models"] == [{"provider": {"id": "openai"}, "maxCost": "2.0", "reserved": "2.0"}]

        fallback = [{"provider": "anthropic", "model": "claude-haiku-5-5"}]
        both = (await ada.ask(MODEL_ESTIMATES, input={**asked, "fallback": fallback}))["estimate"]
        assert (both["provider"]["id"], both["maxCost"], both["reserved"]) == ("openai", "4", "4")
        assert [(each["provider"]["id"], each["maxCost"]) for each in both["models"]] == [
            ("openai", "2.0"),
            ("anthropic", "4"),
        ]
        assert both["isWithinBudget"]
        dear = {**asked, "parameters": {"maxOutputTokens": 6}}
        assert (await ada.ask(MODEL_ESTIMATES, input=dear))["estimate"]["isWithinBudget"]
        over = {**dear, "fallback": fallback}
        assert not (await ada.ask(MODEL_ESTIMATES, input=over))["estimate"]["isWithinBudget"]
        refused = (await ada.ask(GENERATE, input=over))["generateContent"]["errors"]
        assert [each["code"] for each in refused] == ["QUOTA_EXCEEDED"], "as it would run"

        # The settings' count for requests that say nothing, as they do when it runs.
        await ada.do(SETTINGS, input={"fallback": fallback})
        assert (await ada.ask(MODEL_ESTIMATES, input=asked))["estimate"]["maxCost"] == "4"
        assert (await ada.ask(MODEL_ESTIMATES, input={**asked, "fallback": []}))["estimate"]["maxCost"] == "2.0"

        unknown = [*fallback, {"provider": "openai", "model": "gpt-6.2-sol"}]
        await override(root, "anthropic", {"model": "claude-haiku-5-5", "price": None})
        wrong = await ada.refused(MODEL_ESTIMATES, input={**asked, "fallback": [*unknown, unknown[0]]})
        assert (wrong["code"], wrong["field"]) == ("INVALID_INPUT", ["fallback", "2"])


async def test_a_fallback_of_unknown_price_leaves_the_bounds_unknown_and_reserves_for_the_others(
    database_url: str,
) -> None:
    async with with_endpoint(database_url) as (product, _, base_url):
        root, ada = await product.administrator(), await product.person()
        await root.do(ADD, input={"id": "lab", "name": "The lab", "baseUrl": base_url})
        await ada.do(ADD_KEY, input={"provider": "lab", "key": KEY})
        await override(root, "lab", {"model": MODEL, "price": {"input": 0, "output": 1_000_000}})
        asked = {**UNKNOWN, "parameters": {"maxOutputTokens": 2}}
        fallback = [{"provider": "lab", "model": "deepseek-v4-pro"}]
        found = (await ada.ask(MODEL_ESTIMATES, input={**asked, "fallback": fallback}))["estimate"]
        assert [found[name] for name in ("minCost", "maxCost", "reserved")] == [None, None, "2"]
        assert [each["reserved"] for each in found["models"]] == ["2", None]
