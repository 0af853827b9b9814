"""Which parameters a request may set, and which of them a model takes."""

from __future__ import annotations

from domain.errors import InvalidInput
from domain.provider import Model, ModelParameter, Parameters
from domain.text import checked_text

MAX_STOP_SEQUENCES = 4
MAX_STOP_SEQUENCE_CHARS = 100
MAX_OUTPUT_TOKENS = 1_000_000
MAX_TEMPERATURE = 2.0

_NAMES = {
    ModelParameter.MAX_OUTPUT_TOKENS: "maxOutputTokens",
    ModelParameter.TEMPERATURE: "temperature",
    ModelParameter.REASONING_EFFORT: "reasoningEffort",
    ModelParameter.STOP_SEQUENCES: "stopSequences",
}


def check_parameters(parameters: Parameters, model: Model) -> None:
    """Raises InvalidInput for a value out of range, or for a knob that the model is known not to have."""
    tokens, temperature, stops = parameters.max_output_tokens, parameters.temperature, parameters.stop_sequences
    limit = model.max_output_tokens or MAX_OUTPUT_TOKENS
    if tokens is not None and not 1 <= tokens <= limit:
        raise InvalidInput(f"This must be from 1 to {limit}.", field=("parameters", "maxOutputTokens"))
    if temperature is not None and not 0 <= temperature <= MAX_TEMPERATURE:
        raise InvalidInput(f"This must be from 0 to {MAX_TEMPERATURE:g}.", field=("parameters", "temperature"))
    if len(stops) > MAX_STOP_SEQUENCES:
        raise InvalidInput(f"At most {MAX_STOP_SEQUENCES} are allowed.", field=("parameters", "stopSequences"))
    for stop in stops:
        checked_text(stop, field=("parameters", "stopSequences"), max_chars=MAX_STOP_SEQUENCE_CHARS)
    if (name := find_untaken(parameters, model)) is not None:
        raise InvalidInput(f"The model {model.id} does not take this.", field=("parameters", name))


def find_untaken(parameters: Parameters, model: Model) -> str | None:
    """A given parameter that the model is known not to have; None also when nothing is known of the model."""
    if not model.parameters:
        return None
    given = {
        ModelParameter.MAX_OUTPUT_TOKENS: parameters.max_output_tokens is not None,
        ModelParameter.TEMPERATURE: parameters.temperature is not None,
        ModelParameter.REASONING_EFFORT: parameters.reasoning_effort is not None,
        ModelParameter.STOP_SEQUENCES: bool(parameters.stop_sequences),
    }
    return next((_NAMES[each] for each, is_given in given.items() if is_given and each not in model.parameters), None)
