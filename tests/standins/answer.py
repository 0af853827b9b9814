"""A scenario applied to one request: what is written, how it ends, and what it is said to have cost."""

from dataclasses import dataclass

from tests.standins.scenario import Finish, Scenario, Usage


@dataclass(frozen=True, slots=True)
class CountedUsage:
    """A scenario's usage with the tokens counted that it left open."""

    asked: Usage
    text_tokens: int
    thought_tokens: int

    @property
    def reasoning(self) -> int:
        return self.thought_tokens if self.asked.reasoning_tokens is None else self.asked.reasoning_tokens

    @property
    def output(self) -> int:
        return self.text_tokens + self.reasoning if self.asked.output_tokens is None else self.asked.output_tokens

    @property
    def total(self) -> int:
        return self.asked.input_tokens + self.output


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is shown of the reasoning, and where the token limit cuts: each piece counts as one token."""

    scenario: Scenario
    model: str
    thinks: bool
    shows_thoughts: bool
    max_tokens: int | None
    request_number: int

    @property
    def text(self) -> tuple[str, ...]:
        if self.max_tokens is None:
            return self.scenario.text
        return self.scenario.text[: max(self.max_tokens - len(self.thoughts), 0)]

    @property
    def finish(self) -> Finish:
        return Finish.LENGTH if len(self.text) < len(self.scenario.text) else self.scenario.finish

    @property
    def thoughts(self) -> tuple[str, ...]:
        return self.scenario.reasoning if self.thinks else ()

    @property
    def usage(self) -> CountedUsage | None:
        if self.scenario.usage is None:
            return None
        return CountedUsage(self.scenario.usage, len(self.text), len(self.thoughts))
