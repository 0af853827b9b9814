"""The offline writer: any prompt becomes a small Markdown document, at a believable pace, without AI and free."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from decimal import Decimal
from typing import Final

from domain.provider import (
    Finish,
    FinishReason,
    Model,
    ModelParameter,
    Provider,
    ProviderRequest,
    StreamEvent,
    TextDelta,
    Usage,
    UsageReport,
)
from domain.secret import Secret

DEMO_MODEL: Final = Model(
    id="demo",
    name="Demo (offline, no AI)",
    context_window=200_000,
    max_output_tokens=2_000,
    parameters=frozenset({ModelParameter.MAX_OUTPUT_TOKENS, ModelParameter.STOP_SEQUENCES}),
    input_price=Decimal(0),
    output_price=Decimal(0),
)
TOKENS_PER_SECOND: Final = 40.0
MAX_ECHO_CHARS: Final = 80

# What stands for a token: up to six characters of a word with the space before it.
_TOKEN = re.compile(r"\s*\S{1,6}|\s+$")
# CommonMark 2.4: any ASCII punctuation character may be escaped, and means only itself then.
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_ZERO_WIDTH_JOINER = "\u200d"  # holds together emoji that are made of several


class DemoAdapter:
    """Writes the same document for the same prompt, `tokens_per_second` fast (infinity: as fast as it is read)."""

    def __init__(self, *, tokens_per_second: float = TOKENS_PER_SECOND) -> None:
        self._pause_seconds = 1 / tokens_per_second

    async def warm_up(self) -> None:
        """There is nothing to load."""

    async def models(self, provider: Provider, key: Secret | None) -> tuple[Model, ...]:
        """What the administrator has set up, or the one built-in model."""
        del key  # offline: nobody to show it to
        return provider.models or (DEMO_MODEL,)

    @asynccontextmanager
    async def stream(
        self, provider: Provider, key: Secret | None, request: ProviderRequest
    ) -> AsyncIterator[AsyncIterator[StreamEvent]]:
        """Starts writing."""
        del provider, key  # offline: nobody to ask
        request.on_sent(request.parameters.as_json())
        async with aclosing(self._write(request)) as events:
            yield events

    async def _write(self, request: ProviderRequest) -> AsyncGenerator[StreamEvent, None]:
        document = write_document(request.prompt)
        for sequence in request.parameters.stop_sequences:
            document = document.partition(sequence)[0] if sequence else document
        tokens = _TOKEN.findall(document)
        limit = request.parameters.max_output_tokens or len(tokens)
        for token in tokens[:limit]:
            await asyncio.sleep(self._pause_seconds)
            yield TextDelta(token)
        asked = f"{request.system_prompt or ''} {request.prompt}"
        yield UsageReport(Usage(input_tokens=len(asked.split()), output_tokens=min(limit, len(tokens))))
        yield Finish(FinishReason.LENGTH if limit < len(tokens) else FinishReason.STOP)


def write_document(prompt: str) -> str:
    """Markdown with one of everything that an answer may contain; of the prompt it repeats only its beginning."""
    return "\n".join(_lines(prompt))


def _lines(prompt: str) -> Iterator[str]:
    echo = _echo(prompt)
    words, lines = len(prompt.split()), len(prompt.splitlines())
    yield from (
        f"# {echo}",
        "",
        "This page was written by the **demo**: it works offline, it is *not* an AI, and it has not understood a word "
        "of your prompt. It shows how an answer arrives, is kept in the history, and becomes a page in Notion.",
        "",
        "> You asked:",
        f"> {echo}",
        "",
        "## What has happened so far",
        "",
        "1. Your prompt was stored and queued.",
        "2. A worker of this server took it and opened a stream.",
        "3. The text is arriving piece by piece, as it would from a real model.",
        "",
        "## Your prompt in numbers",
        "",
        "| Measure | Count |",
        "| --- | ---: |",
        f"| Characters | {len(prompt)} |",
        f"| Words | {words} |",
        f"| Lines | {lines} |",
        "",
        "The same, counted by a program:",
        "",
        "```python",
        "def count_words(prompt: str) -> int:",
        "    return len(prompt.split())",
        "",
        "",
        f"# count_words(prompt) == {words}",
        "```",
        "",
        "## What you can do next",
        "",
        "- [x] See an answer arrive",
        "- [ ] Find it again in the history",
        "- [ ] Publish it to Notion",
        "- [ ] Add the API key of a real provider, and ask again",
        "",
        "---",
        "",
        "That is all the demo has to say. With a provider's key in place, the same request brings a real answer.",
        "",
    )


def _echo(prompt: str) -> str:
    """The prompt's beginning as one line of plain text, whatever Markdown or HTML it is made of."""
    visible = "".join(
        char
        for char in prompt
        if char.isspace() or char == _ZERO_WIDTH_JOINER or not unicodedata.category(char).startswith("C")
    )
    line = " ".join(visible.split())
    if len(line) > MAX_ECHO_CHARS:
        beginning = line[: MAX_ECHO_CHARS - 1]
        # At a word's end, unless that would lose most of the line.
        line = (beginning.rsplit(" ", 1)[0] if " " in beginning[MAX_ECHO_CHARS // 2 :] else beginning) + "…"
    return _PUNCTUATION.sub(r"\\\1", line) or "An empty prompt"
