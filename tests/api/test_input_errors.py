"""What GraphQL itself refuses of an input: told with its place, and without what the client has given."""

from typing import Any

from tests.api.product import product

SECRET = "sk-geheim"
GENERATE = "mutation ($input: GenerateContentInput!) { generateContent(input: $input) { errors { message } } }"
ADD_KEY = "mutation ($input: AddApiKeyInput!) { addApiKey(input: $input) { errors { message } } }"
HISTORY = """
query ($first: Int, $filter: HistoryFilter) { viewer { history(first: $first, filter: $filter) { totalCount } } }
"""
# The document, its variables, the field at fault, and what is said of it.
WRONG_VARIABLES: tuple[tuple[str, dict[str, Any], list[str], str], ...] = (
    (GENERATE, {}, ["input"], "to be provided."),
    (GENERATE, {"input": None}, ["input"], "not to be null."),
    (GENERATE, {"input": SECRET}, ["input"], "to be an object."),
    (GENERATE, {"input": {}}, ["input", "prompt"], "to include required field 'prompt'."),
    (GENERATE, {"input": {"prompt": None}}, ["input", "prompt"], "not to be null."),
    (GENERATE, {"input": {"prompt": {"a": SECRET}}}, ["input", "prompt"], "cannot represent a non string value."),
    (ADD_KEY, {"input": {"key": SECRET}}, ["input", "provider"], "to include required field 'provider'."),
    (ADD_KEY, {"input": {"provider": "openai", "key": "x", "kex": SECRET}}, ["input", "kex"], "Did you mean 'key'?"),
    (GENERATE, {"input": {"prompt": "x", "wait": SECRET}}, ["input", "wait"], "cannot represent a non boolean value."),
    (
        GENERATE,
        {"input": {"prompt": "x", "parameters": {"reasoningEffort": f"{SECRET}'s"}}},
        ["input", "parameters", "reasoningEffort"],
        "This value does not exist in 'ReasoningEffort' enum.",
    ),
    (
        GENERATE,
        {"input": {"prompt": "x", "parameters": {"reasoningEffort": [SECRET]}}},
        ["input", "parameters", "reasoningEffort"],
        "cannot represent non-string value.",
    ),
    (
        GENERATE,
        {"input": {"prompt": "x", "fallback": [{"provider": "demo"}, {"provider": None}]}},
        ["input", "fallback", "1", "provider"],
        "not to be null.",
    ),
    (HISTORY, {"filter": {"createdAfter": SECRET}}, ["filter", "createdAfter"], "with its offset from UTC."),
    (HISTORY, {"first": SECRET}, ["first"], "cannot represent non-integer value."),
    (HISTORY, {"first": 2**40}, ["first"], "cannot represent non 32-bit signed integer value."),
)
WRONG_LITERALS = (
    'mutation { addApiKey(input: { key: "sk-geheim" }) { errors { message } } }',
    'mutation { addApiKey(input: { provider: "openai", key: "x", kex: "sk-geheim" }) { errors { message } } }',
    'mutation { addApiKey(input: "sk-geheim") { errors { message } } }',
    'mutation { generateContent(input: { prompt: ["sk-geheim"] }) { errors { message } } }',
    '{ viewer { history(first: "sk-geheim") { totalCount } } }',
    '{ viewer { history(first: 1, orderBy: "sk-geheim") { totalCount } } }',
)


async def test_a_wrong_input_is_told_by_its_place_and_never_quoted(database_url: str) -> None:
    async with product(database_url) as running:
        ada = await running.person()
        for document, variables, field, says in WRONG_VARIABLES:
            (error,) = (await ada.request(document, **variables)).json()["errors"]
            assert error["extensions"] == {"code": "INVALID_INPUT", "field": field}, error
            assert error["message"].endswith(says), error
            assert "geheim" not in error["message"]
        for document in WRONG_LITERALS:
            answer = await ada.request(document)
            assert answer.json()["errors"][0]["extensions"] == {"code": "GRAPHQL_VALIDATION_FAILED"}
            assert "geheim" not in answer.text, answer.text
