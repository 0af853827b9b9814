"""OpenAI in particular: the request it gets, the odd streams it may send, the models it lists."""

from __future__ import annotations

from collections.abc import Sequence
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
from integrations.openai import OpenAIAdapter, described, writes_text
from integrations.provider_faults import clean_words
from tests.standins import scenario as play
from tests.standins.openai import OpenAIStandin
from tests.standins.scenario import Scenario
from tests.standins.scripted import Answer, End, error, event, events, scripted
from tests.standins.server import running

KEY = Secret("sk-proj-Qx7vR2mK9wLp4TzB8nHs3dJf6yGc1aVe")
TIMEOUTS = StreamTimeouts(connect_seconds=60, first_token_seconds=60, idle_seconds=60, total_seconds=120)
THINKER = Model(id="gpt-6.2-sol", name="Sol", parameters=frozenset({ModelParameter.REASONING_EFFORT}))


def provider(base_url: str, models: Sequence[Model] = ()) -> Provider:
    return Provider(
        id="openai",
        kind=ProviderKind.OPENAI,
        name="OpenAI",
        api_endpoint=base_url,
        models=tuple(models),
        config={},
        is_active=True,
    )


async def ask(base_url: str, request: ProviderRequest) -> tuple[list[StreamEvent], ProviderFailed | None]:
    adapter = OpenAIAdapter(None, TIMEOUTS)
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


async def answer_to(*answers: Answer, request: ProviderRequest | None = None) -> tuple[list[StreamEvent], Any]:
    async with scripted(*answers) as server:
        return await ask(server.base_url, request or ProviderRequest(model=THINKER, prompt="Hello"))


def delta(text: str) -> dict[str, object]:
    return {"type": "response.output_text.delta", "delta": text}


def completed(**response: object) -> dict[str, object]:
    return {"type": "response.completed", "response": {"status": "completed"} | response}


class TestTheRequest:
    async def body_of(self, request: ProviderRequest) -> dict[str, Any]:
        async with scripted(events(completed())) as server:
            await ask(server.base_url, request)
            return server.bodies[0]

    async def test_holds_nothing_that_was_not_given(self) -> None:
        plain = ProviderRequest(model=Model(id="gpt-4.1", name="GPT-4.1"), prompt="Hello")

        assert await self.body_of(plain) == {"model": "gpt-4.1", "input": "Hello", "store": False, "stream": True}

    async def test_holds_all_that_was_given(self) -> None:
        request = ProviderRequest(
            model=Model(id="gpt-4.1", name="GPT-4.1"),
            prompt="Hello",
            system_prompt="Be brief.",
            parameters=Parameters(max_output_tokens=100, temperature=0.0),
        )

        assert await self.body_of(request) == {
            "model": "gpt-4.1",
            "input": "Hello",
            "instructions": "Be brief.",
            "max_output_tokens": 100,
            "temperature": 0.0,
            "store": False,
            "stream": True,
        }

    @pytest.mark.parametrize(
        ("model", "effort", "reasoning"),
        [
            (THINKER, None, {"summary": "auto"}),
            (THINKER, ReasoningEffort.HIGH, {"effort": "high", "summary": "auto"}),
            (THINKER, ReasoningEffort.NONE, {"effort": "none"}),
            (Model(id="gpt-9", name="unknown"), ReasoningEffort.LOW, {"effort": "low", "summary": "auto"}),
            (Model(id="gpt-4.1", name="GPT-4.1"), None, None),
        ],
    )
    async def test_asks_for_reasoning_where_the_model_takes_it(
        self, model: Model, effort: ReasoningEffort | None, reasoning: dict[str, str] | None
    ) -> None:
        request = ProviderRequest(model=model, prompt="Hello", parameters=Parameters(reasoning_effort=effort))

        assert (await self.body_of(request)).get("reasoning") == reasoning

    async def test_with_stop_sequences_is_not_sent(self) -> None:
        request = ProviderRequest(model=THINKER, prompt="Hello", parameters=Parameters(stop_sequences=("END",)))

        received, failed = await answer_to(request=request)

        assert received == []
        assert failed.reason is ProviderFailureReason.REJECTED
        assert failed.message == "OpenAI takes no stop sequences. Leave it out, or choose another provider."

    async def test_that_the_model_does_not_take_is_told_in_openais_words(self) -> None:
        request = ProviderRequest(model=THINKER, prompt="Hello", parameters=Parameters(temperature=0.5))
        async with running(OpenAIStandin()) as base_url:
            _, failed = await ask(base_url, request)

        assert failed is not None
        assert (failed.reason, failed.retryable) == (ProviderFailureReason.REJECTED, False)
        assert "OpenAI says: Unsupported parameter: 'temperature' is not supported with this model." in failed.message


class TestReasoningSummaries:
    UNVERIFIED = error(
        400,
        {
            "error": {
                "message": "Your organization must be verified to generate reasoning summaries.",
                "type": "invalid_request_error",
                "param": "reasoning.summary",
                "code": "unsupported_value",
            }
        },
    )

    @pytest.mark.parametrize(
        ("effort", "second"), [(None, None), (ReasoningEffort.LOW, {"effort": "low"})], ids=["unasked", "asked"]
    )
    async def test_that_an_organisation_may_not_have_are_done_without(
        self, effort: ReasoningEffort | None, second: dict[str, str] | None
    ) -> None:
        request = ProviderRequest(model=THINKER, prompt="Hello", parameters=Parameters(reasoning_effort=effort))
        async with scripted(self.UNVERIFIED, events(delta("Hi"), completed())) as server:
            received, failed = await ask(server.base_url, request)

        assert failed is None
        assert received == [TextDelta("Hi"), Finish(FinishReason.STOP)]
        assert [body.get("reasoning") for body in server.bodies][1] == second

    async def test_are_tried_without_only_once(self) -> None:
        async with scripted(self.UNVERIFIED, self.UNVERIFIED, self.UNVERIFIED) as server:
            _, failed = await ask(server.base_url, ProviderRequest(model=THINKER, prompt="Hello"))

        assert failed is not None
        assert failed.reason is ProviderFailureReason.REJECTED
        assert len(server.bodies) == 2

    async def test_keep_their_parts_apart(self) -> None:
        def part(number: int) -> dict[str, object]:
            return {"type": "response.reasoning_summary_part.added", "summary_index": number, "part": {"text": ""}}

        def thought(text: str) -> dict[str, object]:
            return {"type": "response.reasoning_summary_text.delta", "delta": text}

        received, _ = await answer_to(
            events(part(0), thought("**One**"), part(1), thought("**Two**"), delta("Hi"), completed())
        )

        thoughts = "".join(item.text for item in received if isinstance(item, ReasoningDelta))
        assert thoughts == "**One**\n\n**Two**"


class TestTheEnd:
    async def test_of_a_refusal_is_told_from_an_answer(self) -> None:
        async with running(standin := OpenAIStandin()) as base_url:
            standin.enqueue(Scenario(finish=play.Finish.REFUSAL, text=("I cannot ", "do that.")))
            received, _ = await ask(base_url, ProviderRequest(model=THINKER, prompt="Hello"))

        assert "".join(item.text for item in received if isinstance(item, TextDelta)) == "I cannot do that."
        assert received[-1] == Finish(FinishReason.REFUSAL)

    @pytest.mark.parametrize("end", End)
    async def test_is_the_end_whatever_the_connection_does_afterwards(
        self, end: End, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(provider_stream, "TAIL_SECONDS", 0.2)
        usage = {"input_tokens": 3, "output_tokens": 1}
        parts = [event(delta("Hi")), event(completed(usage=usage))]

        received, failed = await answer_to(Answer(parts=parts, end=end))

        assert failed is None
        assert received == [
            TextDelta("Hi"),
            UsageReport(Usage(input_tokens=3, output_tokens=1)),
            Finish(FinishReason.STOP),
        ]

    async def test_for_a_reason_nobody_knows_is_no_end(self) -> None:
        incomplete = {
            "type": "response.incomplete",
            "response": {"incomplete_details": {"reason": "moon_phase"}, "usage": {"input_tokens": 3}},
        }

        received, failed = await answer_to(events(delta("Hi"), incomplete))

        assert received == [TextDelta("Hi"), UsageReport(Usage(input_tokens=3, output_tokens=0))]
        assert failed.reason is ProviderFailureReason.TRUNCATED

    async def test_by_failure_still_tells_what_was_used(self) -> None:
        broken = {
            "type": "response.failed",
            "response": {
                "error": {"code": "rate_limit_exceeded", "message": "Slow down"},
                "usage": {"input_tokens": 9, "output_tokens": 2, "output_tokens_details": None},
            },
        }

        received, failed = await answer_to(events(delta("Hi"), broken))

        assert received[-1] == UsageReport(Usage(input_tokens=9, output_tokens=2))
        assert failed.reason is ProviderFailureReason.RATE_LIMITED

    @pytest.mark.parametrize("code", ["invalid_prompt", "bio_policy", "misalignment_policy_violation"])
    async def test_by_policy_is_a_refusal(self, code: str) -> None:
        broken = {"type": "response.failed", "response": {"error": {"code": code, "message": "Not this."}}}

        _, failed = await answer_to(events(broken))

        assert (failed.reason, failed.retryable) == (ProviderFailureReason.REFUSED, False)
        assert failed.message == "OpenAI refuses this prompt. OpenAI says: Not this."


class TestNonsense:
    @pytest.mark.parametrize(
        "sent",
        [
            "1",
            "[]",
            '"text"',
            "true",
            "{}",
            {"type": None},
            {"type": 7},
            {"type": "response.output_text.delta"},
            {"type": "response.output_text.delta", "delta": None},
            {"type": "response.output_text.delta", "delta": 5},
            {"type": "response.output_text.delta", "delta": ["a"]},
            {"type": "response.reasoning_summary_text.delta", "delta": {"a": 1}},
            {"type": "response.completed"},
            {"type": "response.completed", "response": None},
            {"type": "response.completed", "response": "done"},
            {"type": "response.incomplete", "response": {"incomplete_details": 3}},
            {"type": "response.failed", "response": {}},
            {"type": "response.failed", "response": {"error": "boom"}},
            {"type": "error"},
            {"type": "error", "error": "boom"},
            {"type": "error", "error": {"message": 5, "code": ["x"]}},
            {"error": {"message": "boom"}},
        ],
        ids=str,
    )
    async def test_is_a_failure_and_never_a_crash(self, sent: object) -> None:
        received, failed = await answer_to(events(delta("Hi"), sent))

        assert received[0] == TextDelta("Hi")
        assert isinstance(failed, ProviderFailed)
        assert not [item for item in received if isinstance(item, Finish)]

    async def test_of_a_usage_that_counts_in_words_is_not_counted(self) -> None:
        received, failed = await answer_to(
            events(delta("Hi"), completed(usage={"input_tokens": "three", "output_tokens": None}))
        )

        assert failed is None
        assert received == [TextDelta("Hi"), Finish(FinishReason.STOP)]

    @pytest.mark.parametrize("usage", [{"input_tokens": 2**63}, {"input_tokens": 3, "output_tokens": 10**9}], ids=str)
    async def test_of_a_usage_that_no_model_can_have_is_not_counted(self, usage: dict[str, int]) -> None:
        received, failed = await answer_to(events(delta("Hi"), completed(usage=usage)))

        assert failed is None
        assert received == [TextDelta("Hi"), Finish(FinishReason.STOP)]

    @pytest.mark.parametrize(
        "body", [Answer(parts=[b"\xff\xfe\n\n"]), Answer(parts=[b"data: \xff\xff\n\n"]), Answer(parts=[])]
    )
    async def test_in_bytes_is_malformed(self, body: Answer) -> None:
        _, failed = await answer_to(body)

        assert failed.reason is ProviderFailureReason.MALFORMED

    async def test_in_a_refusal_is_not_repeated(self) -> None:
        _, failed = await answer_to(Answer(status=418, parts=[b"<html>tea"], content_type="text/html"))

        assert (failed.reason, failed.message) == (
            ProviderFailureReason.REJECTED,
            "OpenAI did not accept the request (HTTP 418).",
        )

    async def test_of_a_redirect_is_not_followed(self) -> None:
        redirect = Answer(status=307, parts=[], headers=["location: /elsewhere"])
        async with scripted(redirect, events(delta("Hi"), completed())) as server:
            _, failed = await ask(server.base_url, ProviderRequest(model=THINKER, prompt="Hello"))

        assert failed is not None
        assert failed.reason is ProviderFailureReason.REJECTED
        assert len(server.bodies) == 1

    @pytest.mark.parametrize("listed", [{"data": "none"}, {"data": [1]}, {"data": None}, {}, [], "no"], ids=str)
    async def test_in_the_list_of_models_is_a_failure(self, listed: object) -> None:
        adapter = OpenAIAdapter(None, TIMEOUTS)
        async with scripted(error(200, listed)) as server:
            with pytest.raises(ProviderFailed) as caught:
                await adapter.models(provider(server.base_url), KEY)
        await adapter.aclose()

        assert caught.value.reason is ProviderFailureReason.MALFORMED


class TestModels:
    LISTED = (
        *("babbage-002", "chatgpt-4o-latest", "codex-mini-latest", "computer-use-preview", "dall-e-3", "davinci-002"),
        *("ft:gpt-4.1-mini:acme::abc123", "gpt-3.5-turbo-instruct", "gpt-4.1", "gpt-4o-audio-preview"),
        *("gpt-4o-mini-realtime-preview", "gpt-4o-mini-transcribe", "gpt-4o-mini-tts", "gpt-4o-search-preview"),
        *("gpt-5.6-sol", "gpt-5.6-sol-2026-07-01", "gpt-5.5-pro", "gpt-6.2-astra", "gpt-audio-mini", "gpt-image-2"),
        *("gpt-live-1", "gpt-realtime", "o3", "o4-mini", "o4-mini-deep-research", "omni-moderation-latest", "sora-2"),
        *("text-embedding-3-large", "tts-1-hd", "whisper-1"),
    )

    def test_of_openai_are_those_that_write_text(self) -> None:
        assert [id_ for id_ in self.LISTED if writes_text(id_, at_openai=True)] == [
            "chatgpt-4o-latest",
            "codex-mini-latest",
            "ft:gpt-4.1-mini:acme::abc123",
            "gpt-4.1",
            "gpt-5.6-sol",
            "gpt-5.6-sol-2026-07-01",
            "gpt-5.5-pro",
            "gpt-6.2-astra",
            "o3",
            "o4-mini",
        ]

    def test_of_another_server_may_have_any_name(self) -> None:
        listed = ("qwen3:8b", "llama-4-scout", "nomic-embedding-text", "bge-reranker")

        assert [id_ for id_ in listed if writes_text(id_, at_openai=False)] == ["qwen3:8b", "llama-4-scout"]

    async def test_of_a_server_come_without_the_other_kinds(self) -> None:
        adapter = OpenAIAdapter(None, TIMEOUTS)
        async with running(OpenAIStandin()) as base_url:
            models = await adapter.models(provider(base_url), KEY)
        await adapter.aclose()

        ids = {model.id for model in models}
        assert {"gpt-4.1", "gpt-6.2-sol"} <= ids
        assert not ids & {"gpt-image-2", "gpt-realtime", "omni-moderation-latest", "tts-1", "whisper-1"}
        assert "text-embedding-3-large" not in ids

    def test_that_are_known_come_first_in_their_order_and_lend_their_knowledge_to_snapshots(self) -> None:
        sol = Model(id="gpt-6.2-sol", name="GPT-6.2 Sol", context_window=1_000_000, parameters=THINKER.parameters)
        luna = Model(id="gpt-6-luna", name="GPT-6 Luna", context_window=400_000)

        models = described(["gpt-9", "gpt-6-luna", "gpt-6.2-sol-2026-10-01", "gpt-6.2-sol", "gpt-9"], (sol, luna))

        assert models == (
            sol,
            luna,
            Model(id="gpt-9", name="gpt-9"),
            Model(
                id="gpt-6.2-sol-2026-10-01",
                name="gpt-6.2-sol-2026-10-01",
                context_window=1_000_000,
                parameters=THINKER.parameters,
            ),
        )


class TestTheWordsOfAProvider:
    @pytest.mark.parametrize("status", [400, 403, 404, 422])
    async def test_are_told_without_the_key(self, status: int) -> None:
        words = f"No use for {KEY.reveal()} here, tell us more."

        _, failed = await answer_to(error(status, {"error": {"message": words, "type": "x"}}))

        assert "OpenAI says: No use for *** here, tell us more." in failed.message

    async def test_are_not_told_when_the_key_is_wrong(self) -> None:
        _, failed = await answer_to(error(401, {"error": {"message": "Incorrect API key: abc"}}))

        assert "abc" not in failed.message

    def test_lose_keys_and_what_looks_like_one(self) -> None:
        words = "Key MY.own/key is bad, so are sk-ant-abc123, sk-inva****alid, ****alid and Bearer abc.def"

        assert clean_words(words, key=Secret("MY.own/key")) == "Key *** is bad, so are ***, ***, *** and ***"

    def test_are_one_short_line(self) -> None:
        assert clean_words("one\n\ttwo\x00\u202ethree", key=None) == "one two three"
        assert len(clean_words("word " * 1000, key=None)) == 300
