"""How many tokens a text is likely to have, for when no provider has counted them (yet)."""

from __future__ import annotations

from dataclasses import replace

from domain.provider import Usage

# Every model cuts texts in its own way, and most of them keep it to themselves. Of UTF-8, though, a token of today's
# models covers about four bytes in all major languages: four letters of English, one to two Chinese characters.
BYTES_PER_TOKEN = 4
# What providers wrap around a prompt and its instructions.
TOKENS_PER_MESSAGE = 8


def estimated_tokens(text: str) -> int:
    """The tokens of a text, rounded up."""
    return -(-len(text.encode(errors="replace")) // BYTES_PER_TOKEN)


def estimated_input_tokens(prompt: str, system_prompt: str | None) -> int:
    """The tokens that a provider will count as input."""
    return sum(TOKENS_PER_MESSAGE + estimated_tokens(text) for text in (prompt, system_prompt) if text)


def completed_usage(
    reported: Usage | None, *, prompt: str, system_prompt: str | None, text: str, reasoning: str
) -> Usage:
    """The tokens of a call that broke off, where the provider has told none or only those so far.

    Output is never less than what has arrived is likely to have taken; what was counted for certain stays as it is.
    """
    thought = estimated_tokens(reasoning)
    written = estimated_tokens(text) + thought
    if reported is None:
        return Usage(
            input_tokens=estimated_input_tokens(prompt, system_prompt),
            output_tokens=written,
            reasoning_tokens=thought,
            is_estimated=True,
        )
    if reported.output_tokens >= written:
        return reported
    return replace(
        reported, output_tokens=written, reasoning_tokens=max(reported.reasoning_tokens, thought), is_estimated=True
    )
