"""What is known of families of models without asking anybody: the one place to look at when new ones appear.

It fills in what neither the provider's own endpoint nor the administrator tells (`models` of a provider), and no more:
a model of no known family is sent only what a request itself sets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from domain.provider import Model, ModelParameter, ProviderKind

_LENGTH = ModelParameter.MAX_OUTPUT_TOKENS
_TEMPERATURE = ModelParameter.TEMPERATURE
_EFFORT = ModelParameter.REASONING_EFFORT
_STOPS = ModelParameter.STOP_SEQUENCES


@dataclass(frozen=True, slots=True)
class _Family:
    """The models whose whole id the expression matches."""

    ids: re.Pattern[str]
    parameters: frozenset[ModelParameter]


def _family(ids: str, *parameters: ModelParameter) -> _Family:
    return _Family(re.compile(ids), frozenset(parameters))


# The first that matches counts.
_FAMILIES: Mapping[ProviderKind, tuple[_Family, ...]] = {
    ProviderKind.OPENAI: (
        _family(r"(ft:)?gpt-(3\.5|4).*|chatgpt-.*|gpt-5.*-chat.*", _LENGTH, _TEMPERATURE),
        # They think, and take a temperature only when they are told not to.
        _family(r"(ft:)?gpt-[5-9].*|o\d.*|codex-.*", _LENGTH, _EFFORT),
    ),
    ProviderKind.ANTHROPIC: (
        _family(r"claude-[a-z]+-(4-[6-9]|[5-9]).*", _LENGTH, _EFFORT, _STOPS),
        _family(r"claude-.*", _LENGTH, _STOPS),
    ),
    ProviderKind.DEEPSEEK: (_family(r"deepseek-.*", _LENGTH, _TEMPERATURE, _EFFORT, _STOPS),),
}


def completed(kind: ProviderKind, model: Model) -> Model:
    """The model with what its family takes, where nothing else is known of that."""
    if model.parameters:
        return model
    family = next((each for each in _FAMILIES.get(kind, ()) if each.ids.fullmatch(model.id)), None)
    return model if family is None else replace(model, parameters=family.parameters)
