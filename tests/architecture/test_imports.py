"""Each SDK is imported by one file of integrations only, so that each has one door for its errors."""

import grimp
import pytest

FLOORS = ("schema", "resolvers", "domain", "persistence", "integrations", "ops")
SDKS = {
    "openai": "integrations.openai",
    "anthropic": "integrations.anthropic",
    "notion_client": "integrations.notion",
    "redis": "integrations.redis",
    "jwt": "integrations.tokens",
    "argon2": "integrations.passwords",
    "genai_prices": "integrations.prices",
}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Who imports whom, foreign packages included."""
    return grimp.build_graph(*FLOORS, include_external_packages=True, cache_dir=None)


@pytest.mark.parametrize(("sdk", "importer"), SDKS.items(), ids=SDKS.keys())
def test_each_sdk_has_one_file(graph: grimp.ImportGraph, sdk: str, importer: str) -> None:
    assert graph.find_modules_that_directly_import(sdk) == {importer}
