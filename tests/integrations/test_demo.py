"""The demo writes well-formed Markdown about any prompt, the same each time, and lets no prompt write Markdown."""

from __future__ import annotations

import asyncio
import math
import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from domain.provider import (
    Finish,
    FinishReason,
    Model,
    Parameters,
    Provider,
    ProviderAdapter,
    ProviderKind,
    ProviderRequest,
    StreamEvent,
    TextDelta,
    UsageReport,
)
from integrations.demo import DEMO_MODEL, MAX_ECHO_CHARS, DemoAdapter, write_document

DEMO = Provider(id="demo", kind=ProviderKind.DEMO, name="Demo", api_endpoint=None, models=(), config={}, is_active=True)
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


async def write(
    prompt: str, parameters: Parameters | None = None, system_prompt: str | None = None
) -> list[StreamEvent]:
    request = ProviderRequest(
        model=DEMO_MODEL, prompt=prompt, system_prompt=system_prompt, parameters=parameters or Parameters()
    )
    adapter: ProviderAdapter = DemoAdapter(tokens_per_second=math.inf)
    async with adapter.stream(DEMO, None, request) as stream:
        return [event async for event in stream]


def text_of(events: list[StreamEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def flat(tokens: list[Token]) -> list[Token]:
    return [inner for token in tokens for inner in (token, *(token.children or []))]


def shape(markdown: str) -> list[str]:
    """What it is made of, without its words."""
    return [token.type for token in flat(MARKDOWN.parse(markdown)) if token.type not in ("text", "text_special")]


async def test_the_document_arrives_whole_with_usage_and_finish() -> None:
    events = await write("Write about the sea")

    assert text_of(events) == write_document("Write about the sea")
    assert isinstance(events[-2], UsageReport)
    assert events[-1] == Finish(FinishReason.STOP)


async def test_the_same_prompt_gives_the_same_document_in_the_same_pieces() -> None:
    assert await write("Write about the sea") == await write("Write about the sea")
    assert text_of(await write("Write about the sea")) != text_of(await write("Write about the lake"))


async def test_the_document_has_one_of_everything() -> None:
    kinds = set(shape(write_document("Write about the sea")))

    assert kinds >= {
        *("heading_open", "paragraph_open", "blockquote_open", "ordered_list_open", "bullet_list_open"),
        *("table_open", "fence", "hr", "strong_open", "em_open"),
    }
    assert "- [x] " in write_document("x")
    assert "- [ ] " in write_document("x")


def test_the_document_says_that_it_is_no_ai() -> None:
    assert "it is *not* an AI" in write_document("x")


def test_the_numbers_are_the_prompts() -> None:
    document = write_document("one two\nthree")

    assert "| Characters | 13 |" in document
    assert "| Words | 3 |" in document
    assert "| Lines | 2 |" in document
    assert "# count_words(prompt) == 3" in document


@pytest.mark.parametrize(
    "prompt",
    [
        "# heading",
        "**bold** _em_ ~~gone~~ `code` ***both***",
        "[link](https://evil.example) ![image](https://evil.example/x.png) <https://evil.example>",
        "<script>alert(1)</script> <!-- comment --> &amp; &#60;",
        "| a | b |\n| - | - |\n| c | d |",
        "```\ncode\n```\n~~~\nmore",
        "> quote\n- list\n1. item\n- [ ] task\n***\n---\n===",
        "    indented\n\ttab",
        "back\\slash \\* and trailing \\",
        "[ref]: https://evil.example 'title'\n[ref]",
        "\n\n\n",
        "",
        "\u202e right to left \u200b zero width \x00 nul \ud800 half",
        "$$x^2$$ ^sup^ ==mark== :smile: @mention #tag",
    ],
)
def test_no_prompt_changes_the_shape_of_the_document(prompt: str) -> None:
    assert shape(write_document(prompt)) == shape(write_document("plain"))


@given(st.text(max_size=200))
def test_no_prompt_at_all_changes_the_shape_of_the_document(prompt: str) -> None:
    assert shape(write_document(prompt)) == shape(write_document("plain"))


@given(st.text(alphabet="\\`*_{}[]<>()#+-.!|~=&;:\n\t ab1\"'$^", max_size=120))
def test_no_punctuation_changes_the_shape_of_the_document(prompt: str) -> None:
    assert shape(write_document(prompt)) == shape(write_document("plain"))


def test_the_echo_is_the_prompt_as_plain_text() -> None:
    heading = MARKDOWN.parse(write_document("Say *hi* to <b> & [x]"))[1]

    assert "".join(token.content for token in heading.children or []) == "Say *hi* to <b> & [x]"


def test_a_long_prompt_is_cut_at_a_words_end() -> None:
    title = write_document("word " * 100).splitlines()[0].removeprefix("# ")

    assert re.fullmatch(r"(word )+word…", title)
    assert len(title) <= MAX_ECHO_CHARS


def test_a_long_word_is_cut_anywhere() -> None:
    title = write_document("x" * 500).splitlines()[0].removeprefix("# ")

    assert title == "x" * (MAX_ECHO_CHARS - 1) + "…"


async def test_pieces_are_small_and_never_empty() -> None:
    pieces = [event.text for event in await write("Write about the sea") if isinstance(event, TextDelta)]

    assert len(pieces) > 100
    assert all(0 < len(piece) < 20 for piece in pieces)


async def test_usage_counts_words_in_and_pieces_out() -> None:
    events = await write("three little words", system_prompt="and two")

    (usage,) = [event.usage for event in events if isinstance(event, UsageReport)]
    assert usage.input_tokens == 5
    assert usage.output_tokens == len([event for event in events if isinstance(event, TextDelta)])


async def test_the_limit_cuts_it() -> None:
    events = await write("Write about the sea", Parameters(max_output_tokens=7))

    assert len([event for event in events if isinstance(event, TextDelta)]) == 7
    assert events[-1] == Finish(FinishReason.LENGTH)


async def test_stop_sequences_end_it() -> None:
    events = await write("Write about the sea", Parameters(stop_sequences=("", "## ", "never there")))

    assert "## " not in text_of(events)
    assert text_of(events)
    assert events[-1] == Finish(FinishReason.STOP)


async def test_it_takes_its_time_and_can_be_left_at_any_time() -> None:
    adapter = DemoAdapter(tokens_per_second=0.001)
    request = ProviderRequest(model=DEMO_MODEL, prompt="Write about the sea")

    async def read_all() -> list[StreamEvent]:
        async with adapter.stream(DEMO, None, request) as stream:
            return [event async for event in stream]

    task = asyncio.create_task(read_all())
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_its_models_are_the_administrators_or_its_own() -> None:
    own = Model(id="mine", name="Mine")

    assert await DemoAdapter().models(DEMO, None) == (DEMO_MODEL,)
    provider = Provider(
        id="demo", kind=ProviderKind.DEMO, name="D", api_endpoint=None, models=(own,), config={}, is_active=True
    )
    assert await DemoAdapter().models(provider, None) == (own,)
