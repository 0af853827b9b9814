"""Anthropic in particular: the request it gets, how it thinks and counts, the odd streams it may send."""

from __future__ import annotations

from typing import Any

import pytest

from domain.errors import ProviderFailed, ProviderFailureReason
from domain.provider import (
    Finish,
    FinishReason,
    Model,
    ModelParameter,
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
from integrations.anthropic import DEFAULT_MAX_TOKENS, AnthropicAdapter
from tests.standins import scenario as play
from tests.standins.anthropic import AnthropicStandin, ClaudeModel
from tests.standins.scenario import Scenario
from tests.standins.scripted import Answer, End, error, event, events, scripted
from tests.standins.server import running

KEY = Secret("sk-ant-api03-Qx7vR2mK9wLp4TzB8nHs3dJf6yGc1aVe")
TIMEOUTS = StreamTimeouts(connect_seconds=60, first_token_seconds=60, idle_seconds=60, total_seconds=120)
HAIKU = Model(id="claude-haiku-5-5", name="Claude Haiku 5.5")
HELLO = ProviderRequest(model=HAIKU, prompt="Hello")
ALOUD = {"type": "adaptive", "display": "summarized"}


def provider(base_url: str, *models: Model) -> Provider:
    return Provider(
        id="anthropic",
        kind=ProviderKind.ANTHROPIC,
        name="Anthropic",
        api_endpoint=base_url,
        models=models,
        config={},
        is_active=True,
    )


async def ask(base_url: str, request: ProviderRequest = HELLO) -> tuple[list[StreamEvent], ProviderFailed | None]:
    adapter = AnthropicAdapter(None, TIMEOUTS)
    received: list[StreamEvent] = []
    try:
        async with adapter.stream(provider(base_url), KEY, request) as stream:
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


def thinking(effort: ReasoningEffort | None, model: str) -> ProviderRequest:
    return ProviderRequest(
        model=Model(id=model, name=model), prompt="Hello", parameters=Parameters(reasoning_effort=effort)
    )


def text(words: str) -> dict[str, object]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": words}}


def stop(reason: str | None, **usage: object) -> dict[str, object]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 0} | usage}


OVER = {"type": "message_stop"}


class TestTheRequest:
    async def body_of(self, request: ProviderRequest) -> dict[str, Any]:
        async with scripted(events(stop("end_turn"), OVER)) as server:
            await ask(server.base_url, request)
            return server.bodies[0]

    async def test_holds_nothing_that_was_not_given(self) -> None:
        plain = ProviderRequest(model=Model(id="claude-opus-4-8", name="old"), prompt="Hello")

        assert await self.body_of(plain) == {
            "model": "claude-opus-4-8",
            "messages": [{"role": "user", "content": "Hello"}],
            "max_tokens": DEFAULT_MAX_TOKENS,
            "stream": True,
        }

    async def test_holds_all_that_was_given(self) -> None:
        request = ProviderRequest(
            model=HAIKU,
            prompt="Hello",
            system_prompt="Be brief.",
            parameters=Parameters(
                max_output_tokens=100, reasoning_effort=ReasoningEffort.MEDIUM, stop_sequences=("END",)
            ),
        )

        assert await self.body_of(request) == {
            "model": "claude-haiku-5-5",
            "messages": [{"role": "user", "content": "Hello"}],
            "system": "Be brief.",
            "max_tokens": 100,
            "stop_sequences": ["END"],
            "thinking": ALOUD,
            "output_config": {"effort": "medium"},
            "stream": True,
        }

    @pytest.mark.parametrize(("limit", "sent"), [(4096, 4096), (128_000, DEFAULT_MAX_TOKENS)])
    async def test_has_the_models_own_limit_when_none_is_given_but_no_more_than_is_usual(
        self, limit: int, sent: int
    ) -> None:
        request = ProviderRequest(model=Model(id="claude-x", name="X", max_output_tokens=limit), prompt="Hello")

        assert (await self.body_of(request))["max_tokens"] == sent

    async def test_has_no_system_prompt_of_nothing_but_space(self) -> None:
        request = ProviderRequest(model=HAIKU, prompt="Hello", system_prompt=" \n")

        assert "system" not in await self.body_of(request)

    @pytest.mark.parametrize(
        ("model", "expected"),
        [
            ("claude-haiku-5-5", ALOUD),
            ("claude-opus-5", ALOUD),
            ("claude-fable-6", ALOUD),
            ("claude-opus-4-8", None),
            ("claude-3-5-sonnet-latest", None),
            ("another", None),
        ],
    )
    async def test_asks_a_model_that_thinks_anyway_to_show_it(
        self, model: str, expected: dict[str, str] | None
    ) -> None:
        assert (await self.body_of(thinking(None, model))).get("thinking") == expected

    async def test_with_a_temperature_is_not_sent(self) -> None:
        async with scripted() as server:
            _, failed = await ask(
                server.base_url,
                ProviderRequest(model=HAIKU, prompt="Hello", parameters=Parameters(temperature=0.5)),
            )

        assert failed is not None
        assert failed.reason is ProviderFailureReason.REJECTED
        assert failed.message.startswith("Anthropic takes no temperature.")


class TestNotThinking:
    @pytest.mark.parametrize(
        ("model", "tried"),
        [("claude-haiku-5-5", ["disabled"]), ("claude-sonnet-5-5", ["disabled", "between_tools"])],
    )
    async def test_is_asked_for_in_the_models_own_word(self, model: str, tried: list[str]) -> None:
        async with running(standin := AnthropicStandin()) as base_url:
            received, failed = await ask(base_url, thinking(ReasoningEffort.NONE, model))

        assert failed is None
        assert not [item for item in received if isinstance(item, ReasoningDelta)]
        assert [(request.body or {})["thinking"]["type"] for request in standin.requests] == tried

    async def test_is_not_to_be_had_from_every_model(self) -> None:
        async with running(standin := AnthropicStandin()) as base_url:
            _, failed = await ask(base_url, thinking(ReasoningEffort.NONE, "claude-opus-5-5"))

        assert failed is not None
        assert (failed.reason, failed.retryable) == (ProviderFailureReason.REJECTED, False)
        assert "is not supported for this model" in failed.message
        assert len(standin.requests) == 2


class TestTheAnswer:
    async def test_counts_the_cache_as_input(self) -> None:
        usage = play.Usage(
            input_tokens=100, cached_tokens=60, cache_write_tokens=30, output_tokens=50, reasoning_tokens=20
        )
        async with running(standin := AnthropicStandin()) as base_url:
            standin.enqueue(Scenario(usage=usage))
            received, _ = await ask(base_url)

        reports = [item.usage for item in received if isinstance(item, UsageReport)]
        assert reports[-1] == Usage(
            input_tokens=100, cached_input_tokens=60, cache_write_tokens=30, output_tokens=50, reasoning_tokens=20
        )
        assert reports[0].input_tokens == 100, "what was read is told at once, and is known if the answer breaks off"

    async def test_counts_again_what_is_told_again(self) -> None:
        start = {"type": "message_start", "message": {"usage": {"input_tokens": 10, "output_tokens": 1}}}

        received, _ = await answer_to(
            events(start, text("Hi"), stop("end_turn", input_tokens=12, output_tokens=5), OVER)
        )

        assert [item.usage for item in received if isinstance(item, UsageReport)] == [
            Usage(input_tokens=10, output_tokens=1),
            Usage(input_tokens=12, output_tokens=5),
        ]

    async def test_counts_nothing_that_no_model_can_have_taken(self) -> None:
        start = {"type": "message_start", "message": {"usage": {"input_tokens": 2**63, "output_tokens": 1}}}

        received, failed = await answer_to(events(start, text("Hi"), stop("end_turn", output_tokens=5), OVER))

        assert failed is None
        assert not [item for item in received if isinstance(item, UsageReport)]

    async def test_keeps_thoughts_apart(self) -> None:
        def block(index: int) -> dict[str, object]:
            return {
                "type": "content_block_start",
                "index": index,
                "content_block": {"type": "thinking", "thinking": ""},
            }

        def thought(words: str) -> dict[str, object]:
            return {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": words}}

        received, _ = await answer_to(
            events(block(0), thought("One"), block(1), thought("Two"), text("Hi"), stop("end_turn"), OVER)
        )

        assert "".join(item.text for item in received if isinstance(item, ReasoningDelta)) == "One\n\nTwo"

    @pytest.mark.parametrize(
        ("reason", "finish"),
        [
            ("end_turn", FinishReason.STOP),
            ("stop_sequence", FinishReason.STOP),
            ("max_tokens", FinishReason.LENGTH),
            ("model_context_window_exceeded", FinishReason.LENGTH),
            ("refusal", FinishReason.REFUSAL),
        ],
    )
    async def test_ends_for_a_reason(self, reason: str, finish: FinishReason) -> None:
        received, failed = await answer_to(events(text("Hi"), stop(reason), OVER))

        assert failed is None
        assert received == [TextDelta("Hi"), Finish(finish)]

    @pytest.mark.parametrize("reason", ["pause_turn", "tool_use", "full_moon"])
    async def test_that_stops_for_another_reason_is_not_whole(self, reason: str) -> None:
        received, failed = await answer_to(events(text("Hi"), stop(reason), OVER))

        assert received == [TextDelta("Hi")]
        assert (failed.reason, failed.retryable) == (ProviderFailureReason.TRUNCATED, True)

    @pytest.mark.parametrize("end", End)
    async def test_is_whole_when_the_stop_reason_has_come(self, end: End, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(provider_stream, "TAIL_SECONDS", 0.2)

        received, failed = await answer_to(Answer(parts=[event(text("Hi")), event(stop("end_turn"))], end=end))

        assert failed is None
        assert received == [TextDelta("Hi"), Finish(FinishReason.STOP)]

    async def test_may_hold_events_and_deltas_of_kinds_to_come(self) -> None:
        received, failed = await answer_to(
            events(
                {"type": "weather_report", "sunny": True},
                {"type": "content_block_start", "index": 0, "content_block": {"type": "hologram"}},
                {"type": "content_block_delta", "index": 0, "delta": {"type": "smell_delta", "smell": "roses"}},
                text("Hi"),
                stop(None),
                stop("end_turn"),
                OVER,
            )
        )

        assert failed is None
        assert received == [TextDelta("Hi"), Finish(FinishReason.STOP)]

    @pytest.mark.parametrize(
        "sent",
        [
            {"type": "content_block_delta"},
            {"type": "content_block_delta", "delta": None},
            {"type": "content_block_delta", "delta": {"type": "text_delta"}},
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": 5}},
            {"type": "content_block_start", "content_block": None},
            {"type": "message_start", "message": None},
            {"type": "message_start", "message": {"usage": None}},
            {"type": "message_delta", "delta": None, "usage": None},
            {"type": "message_delta", "delta": {"stop_reason": ["end_turn"]}, "usage": {}},
            {"type": "error"},
            {"type": "error", "error": "boom"},
            {"type": "error", "error": {"type": 5, "message": ["boom"]}},
        ],
        ids=str,
    )
    async def test_in_nonsense_is_a_failure_and_never_a_crash(self, sent: object) -> None:
        received, failed = await answer_to(events(text("Hi"), sent))

        assert received == [TextDelta("Hi")]
        assert isinstance(failed, ProviderFailed)

    @pytest.mark.parametrize("data", ["1", "[]", "null", '"text"', "half of a {", "\x85"])
    @pytest.mark.parametrize("name", ["content_block_delta", "error"])
    async def test_in_bytes_that_are_no_event_is_a_failure(self, data: str, name: str) -> None:
        _, failed = await answer_to(Answer(parts=[event(text("Hi")), f"event: {name}\ndata: {data}\n\n".encode()]))

        assert isinstance(failed, ProviderFailed)


class TestARefusal:
    @pytest.mark.parametrize(
        ("status", "told", "reason"),
        [
            (400, {"type": "invalid_request_error", "message": "Your credit balance is too low"}, "NO_BALANCE"),
            (402, {"type": "billing_error", "message": "pay"}, "NO_BALANCE"),
            (
                400,
                {
                    "type": "invalid_request_error",
                    "message": "limit",
                    "details": {"error_code": "enforced_spend_limit_reached"},
                },
                "NO_BALANCE",
            ),
            (413, {"type": "request_too_large", "message": "Request exceeds the maximum size"}, "CONTEXT_TOO_LONG"),
            (408, {"type": "timeout_error", "message": "slow"}, "TIMEOUT"),
            (409, {"type": "conflict_error", "message": "twice"}, "OVERLOADED"),
            (529, {"type": "overloaded_error", "message": "Overloaded"}, "OVERLOADED"),
        ],
    )
    async def test_has_its_reason(self, status: int, told: dict[str, object], reason: str) -> None:
        _, failed = await answer_to(error(status, {"type": "error", "error": told}))

        assert failed.reason == ProviderFailureReason(reason)

    async def test_inside_the_stream_is_not_taken_by_the_streams_own_status(self) -> None:
        refusal = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}

        received, failed = await answer_to(events(text("Hi"), refusal))

        assert received == [TextDelta("Hi")]
        assert (failed.reason, failed.retryable) == (ProviderFailureReason.OVERLOADED, True)
        assert "200" not in failed.message


class TestModels:
    async def listed(self, standin: AnthropicStandin, *known: Model) -> dict[str, Model]:
        adapter = AnthropicAdapter(None, TIMEOUTS)
        async with running(standin) as base_url:
            models = await adapter.models(provider(base_url, *known), KEY)
        await adapter.aclose()
        return {model.id: model for model in models}

    async def test_come_with_the_limits_and_capabilities_that_are_told(self) -> None:
        models = await self.listed(AnthropicStandin())

        assert models["claude-haiku-5-5"] == Model(
            id="claude-haiku-5-5",
            name="Claude Haiku 5.5",
            context_window=1_000_000,
            max_output_tokens=128_000,
            parameters=frozenset(
                {ModelParameter.MAX_OUTPUT_TOKENS, ModelParameter.STOP_SEQUENCES, ModelParameter.REASONING_EFFORT}
            ),
        )

    async def test_come_newest_first_on_one_page(self) -> None:
        many = tuple(
            ClaudeModel(id=f"claude-x-{number}", display_name=f"X {number}", created_at="2026-10-15T00:00:00Z")
            for number in range(150)
        )

        models = await self.listed(AnthropicStandin(models=many))

        assert list(models) == [model.id for model in many]

    async def test_that_are_retired_are_left_out(self) -> None:
        body = ClaudeModel(id="claude-x-1", display_name="X", created_at="2026-10-15T00:00:00Z").body()
        adapter = AnthropicAdapter(None, TIMEOUTS)
        page = {"data": [body, body | {"id": "claude-x-0", "lifecycle": "retired"}], "has_more": False}
        async with scripted(error(200, page)) as server:
            models = await adapter.models(provider(server.base_url), KEY)
        await adapter.aclose()

        assert [model.id for model in models] == ["claude-x-1"]

    async def test_without_told_capabilities_keep_what_was_known(self) -> None:
        known = Model(
            id="claude-x-1", name="X", context_window=5, parameters=frozenset({ModelParameter.REASONING_EFFORT})
        )
        page = {"data": [{"id": "claude-x-1", "display_name": "", "lifecycle": "active"}], "has_more": False}
        adapter = AnthropicAdapter(None, TIMEOUTS)
        async with scripted(error(200, page)) as server:
            (model,) = await adapter.models(provider(server.base_url, known), KEY)
        await adapter.aclose()

        assert (model.name, model.context_window) == ("X", 5)
        assert ModelParameter.REASONING_EFFORT in model.parameters

    @pytest.mark.parametrize("listed", [{"data": [1]}, {"data": None}, {}, [], "no"], ids=str)
    async def test_in_nonsense_are_a_failure(self, listed: object) -> None:
        adapter = AnthropicAdapter(None, TIMEOUTS)
        async with scripted(error(200, listed)) as server:
            with pytest.raises(ProviderFailed) as caught:
                await adapter.models(provider(server.base_url), KEY)
        await adapter.aclose()

        assert caught.value.reason is ProviderFailureReason.MALFORMED
