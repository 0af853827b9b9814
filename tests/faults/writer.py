"""A stand-in for OpenAI whose answer is a function of the prompt, so that everybody knows what it must have been."""

from __future__ import annotations

import asyncio
import random
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from starlette.requests import Request
from starlette.responses import Response

from tests.standins.openai import OpenAIStandin
from tests.standins.scenario import Scenario, cut
from tests.standins.server import RecordedRequest

MODEL = "gpt-6.2-sol"
PIECE_CHARS = 48
_ORDER = re.compile(r"write:(\w+):(\d+):(\d+):(\d+)")
_WORDS = (
    *("answer", "naïve", "🚀", "page", "stream", "ünder", "token", "Größe", "日本語", "fence", "👩\u200d💻", "epoch"),
    *("lease", "cursor", "chunk", "replay", "tail"),
)
_MAX_PAUSE_SECONDS = 60.0
_HELD_POLL_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is asked of the writer: how long a text, how long it thinks first, and how long between two pieces."""

    key: str
    paragraphs: int
    piece_delay_ms: int = 5
    first_delay_ms: int = 0

    @property
    def prompt(self) -> str:
        """The prompt that says so."""
        return f"write:{self.key}:{self.paragraphs}:{self.piece_delay_ms}:{self.first_delay_ms}"

    @classmethod
    def of(cls, prompt: str) -> Self:
        """The order in a prompt, or in what surrounds one."""
        found = _ORDER.search(prompt)
        assert found is not None, "a prompt without an order"
        key, *numbers = found.groups()
        paragraphs, piece_delay_ms, first_delay_ms = map(int, numbers)
        return cls(key=key, paragraphs=paragraphs, piece_delay_ms=piece_delay_ms, first_delay_ms=first_delay_ms)

    @cached_property
    def text(self) -> str:
        """The answer: Markdown in which no two paragraphs are alike, here or in another answer."""
        rng = random.Random(self.key)
        return "\n\n".join(self._paragraph(number, rng) for number in range(self.paragraphs))

    def _paragraph(self, number: int, rng: random.Random) -> str:
        words = " ".join(rng.choices(_WORDS, k=rng.randint(1, 8)))
        said = f"{self.key} {number} {words}"
        match rng.randrange(12):
            case 0:
                return f"- {said}\n  - inside {number}\n    - deeper {number}\n      - deepest {number}"
            case 1:
                return f"```python\n{said}\n```"
            case 2:
                return f"| {self.key} | {number} |\n| --- | --- |\n| {words} | 1 |"
            case _:
                return said

    @property
    def scenario(self) -> Scenario:
        """How it is streamed."""
        return Scenario(text=cut(self.text, PIECE_CHARS), reasoning=(), piece_delay_seconds=self.piece_delay_ms / 1000)


class Writer(OpenAIStandin):
    """Obeys the order in the prompt.

    It does not begin an answer while a beginning of its key is `held` (of every key, the empty one is), which any
    thread may say.
    """

    held: tuple[str, ...] = ()

    def next_scenario(self, record: RecordedRequest) -> Scenario:
        """See Standin."""
        return Order.of(record.raw.decode()).scenario

    async def _responses(self, request: Request, record: RecordedRequest) -> Response:
        order = Order.of(record.raw.decode())
        await asyncio.sleep(min(order.first_delay_ms / 1000, _MAX_PAUSE_SECONDS))
        while order.key.startswith(self.held):  # noqa: ASYNC110  (another thread says so)
            await asyncio.sleep(_HELD_POLL_SECONDS)
        return await super()._responses(request, record)
