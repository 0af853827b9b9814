"""DeepSeek in particular: the request it gets and what it alone does."""

from __future__ import annotations

from typing import Any

import pytest

from domain.errors import ProviderFailed, ProviderFailureReason
from domain.provider import (
    Finish,
    FinishReason,
    Model,
    Parameters,
    Provider,
    ProviderKind,
    ProviderRequest,
    ReasoningDelta,
    ReasoningEffort,
    StreamEvent,
    TextDelta,
    Usage,
    UsageReport,
)
from domain.secret import Secret
from domain.stream_timeouts import StreamTimeouts
from integrations import provider_stream
from integrations.deepseek import DeepSeekAdapter
from tests.standins import scenario as play
from tests.standins.deepseek import DeepSeekStandin
from tests.standins.scenario import Scenario
from tests.standins.scripted import Answer, End, error, event, events, scripted
from tests.standins.server import running

KEY = Secret("sk-9f8e7d6c5b4a39281706f5e4d3c2b1a0")
TIMEOUTS = StreamTimeouts(connect_seconds=60, first_token_seconds=60, idle_seconds=60, total_seconds=120)
FLASH = Model(id="deepseek-flash", name="DeepSeek Flash")
HELLO = ProviderRequest(model=FLASH, prompt="Hello")
PROVIDER = Provider(
    id="deepseek",
    kind=ProviderKind.DEEPSEEK,
    name="DeepSeek",
    api_endpoint=None,
    models=(),
    config={},
    is_active=True,
)


async def ask(base_url: str, request: ProviderRequest = HELLO) -> tuple[list[StreamEvent], ProviderFailed | None]:
    adapter = DeepSeekAdapter(base_url, TIMEOUTS)
    received: list[StreamEvent] = []
    try:
        async with adapter.stream(PROVIDER, KEY, request) as stream:
            async for item in stream:
                received.append(item)  # noqa: PERF401  (what came before a failure is wanted too)
    except ProviderFailed as failed:
        return received, failed
    finally:
        await adapter.aclose()
    return received, None


async def answer_to(*answers: Answer) -> tuple[list[StreamEvent], Any]:
    async with scripted(*answers) as server:
        return await ask(server.base_url)


def chunk(finish: str | None = None, **delta: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


class TestTheRequest:
    async def body_of(self, request: ProviderRequest) -> dict[str, Any]:
        async with running(standin := DeepSeekStandin()) as base_url:
            _, failed = await ask(base_url, request)
            assert failed is None
        return standin.requests[0].body or {}

    async def test_holds_nothing_that_was_not_given(self) -> None:
        assert await self.body_of(HELLO) == {
            "model": "deepseek-flash",
            "messages": [{"role": "user", "content": "Hello"}],
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    async def test_holds_all_that_was_given(self) -> None:
        request = ProviderRequest(
            model=FLASH,
            prompt="Hello",
            system_prompt="Be brief.",
            parameters=Parameters(
                max_output_tokens=100,
                temperature=0.0,
                reasoning_effort=ReasoningEffort.LOW,
                stop_sequences=("END", "FIN"),
            ),
        )

        assert await self.body_of(request) == {
            "model": "deepseek-flash",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
            "max_tokens": 100,
            "temperature": 0.0,
            "stop": ["END", "FIN"],
            "thinking": {"type": "enabled"},
            "reasoning_effort": "low",
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    async def test_switches_thinking_off(self) -> None:
        request = ProviderRequest(
            model=FLASH, prompt="Hello", parameters=Parameters(reasoning_effort=ReasoningEffort.NONE)
        )

        body = await self.body_of(request)

        assert body["thinking"] == {"type": "disabled"}
        assert "reasoning_effort" not in body


class TestTheAnswer:
    async def test_comes_after_the_thinking(self) -> None:
        async with running(standin := DeepSeekStandin()) as base_url:
            standin.enqueue(Scenario(text=("Hi",), reasoning=("Hm, ", "hello?")))
            received, _ = await ask(base_url)

        assert received[:3] == [ReasoningDelta("Hm, "), ReasoningDelta("hello?"), TextDelta("Hi")]

    async def test_reports_cache_hits(self) -> None:
        usage = {
            "prompt_tokens": 50,
            "completion_tokens": 7,
            "prompt_cache_hit_tokens": 32,
            "prompt_cache_miss_tokens": 18,
            "completion_tokens_details": {"reasoning_tokens": 4},
        }

        received, _ = await answer_to(
            events(chunk(content="Hi"), chunk("stop"), {"choices": [], "usage": usage}, "[DONE]")
        )

        assert received == [
            TextDelta("Hi"),
            UsageReport(Usage(input_tokens=50, cached_input_tokens=32, output_tokens=7, reasoning_tokens=4)),
            Finish(FinishReason.STOP),
        ]

    async def test_that_deepseek_has_no_room_to_finish_can_be_asked_for_again(self) -> None:
        async with running(standin := DeepSeekStandin()) as base_url:
            standin.enqueue(Scenario(finish=play.Finish.INTERRUPTED, text=("Hi",)))
            received, failed = await ask(base_url)

        assert TextDelta("Hi") in received
        assert failed is not None
        assert (failed.reason, failed.retryable) == (ProviderFailureReason.OVERLOADED, True)

    @pytest.mark.parametrize("end", End)
    async def test_is_whole_when_the_finish_reason_has_come(self, end: End, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(provider_stream, "TAIL_SECONDS", 0.2)
        parts = [event(chunk(content="Hi")), event(chunk("length"))]

        received, failed = await answer_to(Answer(parts=parts, end=end))

        assert failed is None
        assert received == [TextDelta("Hi"), Finish(FinishReason.LENGTH)]

    async def test_counts_what_a_server_tells_beside_no_choices_at_all(self) -> None:
        usage = {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": -1}}

        received, _ = await answer_to(
            events(chunk(content="Hi"), chunk("stop"), {"choices": None, "usage": usage}, "[DONE]")
        )

        assert received[1] == UsageReport(Usage(input_tokens=5, output_tokens=1))

    @pytest.mark.parametrize(
        "sent", ["half of a {", {"choices": [{"delta": 5}]}, {"error": {"message": "boom"}}], ids=str
    )
    async def test_that_is_whole_stays_whole_whatever_is_said_afterwards(self, sent: object) -> None:
        received, failed = await answer_to(events(chunk(content="Hi"), chunk("stop"), sent))

        assert failed is None
        assert received == [TextDelta("Hi"), Finish(FinishReason.STOP)]

    async def test_that_stops_for_a_tool_nobody_offered_is_no_answer(self) -> None:
        _, failed = await answer_to(events(chunk(content="Hi"), chunk("tool_calls"), "[DONE]"))

        assert failed.reason is ProviderFailureReason.TRUNCATED

    async def test_in_another_servers_refusal_is_a_refusal(self) -> None:
        received, _ = await answer_to(events(chunk(refusal="I cannot."), chunk("stop"), "[DONE]"))

        assert received == [TextDelta("I cannot."), Finish(FinishReason.REFUSAL)]

    @pytest.mark.parametrize(
        "sent",
        [
            "1",
            "[]",
            '"text"',
            "{}",
            {"choices": 5},
            {"choices": [None]},
            {"choices": [{"delta": None}]},
            {"choices": [{"delta": {"content": 5}}]},
            {"choices": [{"delta": {"reasoning_content": ["x"]}}]},
            {"choices": [{"delta": {}, "finish_reason": 3}]},
            {"choices": [], "usage": 3},
            {"error": "boom"},
            {"error": {"message": None, "code": 5}},
        ],
        ids=str,
    )
    async def test_in_nonsense_is_a_failure_and_never_a_crash(self, sent: object) -> None:
        received, failed = await answer_to(events(chunk(content="Hi"), sent))

        assert received == [TextDelta("Hi")]
        assert isinstance(failed, ProviderFailed)


class TestARefusal:
    async def test_by_content_risk_is_told_as_one(self) -> None:
        body = {"error": {"message": "Content Exists Risk", "type": "invalid_request_error", "code": None}}

        _, failed = await answer_to(error(400, body))

        assert failed.reason is ProviderFailureReason.REFUSED

    async def test_of_an_unknown_field_is_told_in_its_words(self) -> None:
        body = {"error": {"message": "unknown field `tmperature`", "type": "x", "code": "invalid_request_error"}}

        _, failed = await answer_to(error(422, body))

        assert failed.reason is ProviderFailureReason.REJECTED
        assert "unknown field `tmperature`" in failed.message


async def test_models_are_all_that_are_listed() -> None:
    adapter = DeepSeekAdapter(None, TIMEOUTS)
    async with running(DeepSeekStandin(models=("deepseek-v4-pro", "deepseek-flash", "deepseek-new"))) as base_url:
        models = await adapter.models(_at(base_url, FLASH), KEY)
    await adapter.aclose()

    assert [(model.id, model.name) for model in models] == [
        ("deepseek-flash", "DeepSeek Flash"),
        ("deepseek-v4-pro", "deepseek-v4-pro"),
        ("deepseek-new", "deepseek-new"),
    ]


def _at(base_url: str, *models: Model) -> Provider:
    return Provider(
        id="deepseek",
        kind=ProviderKind.DEEPSEEK,
        name="DeepSeek",
        api_endpoint=base_url,
        models=models,
        config={},
        is_active=True,
    )
