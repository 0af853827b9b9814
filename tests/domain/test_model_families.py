"""What a model takes is known of most, and of a new one nothing is made up."""

import pytest

from domain.model_families import completed
from domain.provider import Model, ModelParameter, ProviderKind

LENGTH, TEMPERATURE = ModelParameter.MAX_OUTPUT_TOKENS, ModelParameter.TEMPERATURE
EFFORT, STOPS = ModelParameter.REASONING_EFFORT, ModelParameter.STOP_SEQUENCES


@pytest.mark.parametrize(
    ("kind", "id_", "parameters"),
    [
        (ProviderKind.OPENAI, "gpt-5.4-mini", {LENGTH, EFFORT}),
        (ProviderKind.OPENAI, "gpt-6.2-terra", {LENGTH, EFFORT}),
        (ProviderKind.OPENAI, "o4-mini", {LENGTH, EFFORT}),
        (ProviderKind.OPENAI, "gpt-4.1", {LENGTH, TEMPERATURE}),
        (ProviderKind.OPENAI, "gpt-5-chat-latest", {LENGTH, TEMPERATURE}),
        (ProviderKind.OPENAI, "new-kind-of-model", set()),
        (ProviderKind.ANTHROPIC, "claude-opus-6", {LENGTH, EFFORT, STOPS}),
        (ProviderKind.ANTHROPIC, "claude-haiku-4-5", {LENGTH, STOPS}),
        (ProviderKind.DEEPSEEK, "deepseek-v5", {LENGTH, TEMPERATURE, EFFORT, STOPS}),
        (ProviderKind.COMPATIBLE, "gpt-6.2-sol", set()),
    ],
)
def test_a_family_tells_what_its_models_take(kind: ProviderKind, id_: str, parameters: set[ModelParameter]) -> None:
    assert completed(kind, Model(id=id_, name=id_)).parameters == parameters


def test_what_is_told_of_the_model_itself_wins() -> None:
    model = Model(id="gpt-6.2-sol", name="Sol", parameters=frozenset({TEMPERATURE}))

    assert completed(ProviderKind.OPENAI, model) is model
