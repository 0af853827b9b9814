"""What every adapter promises, whichever provider it talks to: tried with the real SDKs against stand-in servers."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Protocol

import pytest

from domain.errors import AssistantError, ProviderFailed, ProviderFailureReason
from domain.provider import (
    Finish,
    FinishReason,
    Model,
    ModelParameter,
    Parameters,
    Provider,
    ProviderAdapter,
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
from integrations.anthropic import AnthropicAdapter
from integrations.deepseek import DeepSeekAdapter
from integrations.openai import OpenAIAdapter
from tests.standins import scenario as play
from tests.standins.anthropic import AnthropicStandin
from tests.standins.deepseek import DeepSeekStandin
from tests.standins.openai import OpenAIStandin
from tests.standins.scenario import Failure, Fault, Scenario
from tests.standins.server import Standin, running
from tests.waiting import until

Reason = ProviderFailureReason

KEY = Secret("sk-proj-Qx7vR2mK9wLp4TzB8nHs3dJf6yGc1aVe")
REJECTED_KEY = Secret("sk-proj-invalid-Qx7vR2mK9wLp4TzB8nHs3dJf6yGc1a")
PROMPT = "Tell me about the sea, quietly-confidential-words."
# Far above what the stand-ins need, so that no deadline passes by accident.
PATIENT = StreamTimeouts(connect_seconds=60, first_token_seconds=60, idle_seconds=60, total_seconds=120)


class Closable(ProviderAdapter, Protocol):
    """An adapter as main holds it."""

    async def aclose(self) -> None: ...
    async def warm_up(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    kind: ProviderKind
    standin: Callable[[], Standin]
    adapter: Callable[[str | None, StreamTimeouts], Closable]
    model: str


CASES = [
    Case(kind=ProviderKind.OPENAI, standin=OpenAIStandin, adapter=OpenAIAdapter, model="gpt-6.2-sol"),
    Case(kind=ProviderKind.ANTHROPIC, standin=AnthropicStandin, adapter=AnthropicAdapter, model="claude-haiku-5-5"),
    Case(kind=ProviderKind.DEEPSEEK, standin=DeepSeekStandin, adapter=DeepSeekAdapter, model="deepseek-flash"),
]


class Bench:
    """An adapter in front of its stand-in."""

    def __init__(self, case: Case, standin: Standin, base_url: str, timeouts: StreamTimeouts) -> None:
        self.kind = case.kind
        self.standin = standin
        self.base_url = base_url
        self.adapter = case.adapter(base_url, timeouts)
        self.provider = Provider(
            id=case.kind.value,
            kind=case.kind,
            name=f"Provider {case.kind.value}",
            api_endpoint=None,
            models=(),
            config={},
            is_active=True,
        )
        self.request = ProviderRequest(
            model=Model(id=case.model, name=case.model, parameters=frozenset({ModelParameter.REASONING_EFFORT})),
            prompt=PROMPT,
        )

    async def events(self, *scenarios: Scenario, key: Secret | None = KEY) -> list[StreamEvent]:
        self.standin.enqueue(*scenarios)
        async with self.adapter.stream(self.provider, key, self.request) as stream:
            return [event async for event in stream]

    async def failure(self, *scenarios: Scenario, key: Secret | None = KEY) -> tuple[list[StreamEvent], ProviderFailed]:
        """What came before the failure, and the failure."""
        self.standin.enqueue(*scenarios)
        events: list[StreamEvent] = []
        try:
            async with self.adapter.stream(self.provider, key, self.request) as stream:
                async for event in stream:
                    events.append(event)  # noqa: PERF401  (what came before the failure is wanted too)
        except ProviderFailed as failed:
            return events, failed
        pytest.fail(f"no failure, but {events[-1:]}")


@asynccontextmanager
async def set_up(case: Case, timeouts: StreamTimeouts = PATIENT) -> AsyncIterator[Bench]:
    standin = case.standin()
    async with running(standin) as base_url:
        bench = Bench(case, standin, base_url, timeouts)
        try:
            yield bench
        finally:
            await bench.adapter.aclose()
            await standin.wait_closed()


@pytest.fixture(params=CASES, ids=lambda case: case.kind.value)
def case(request: pytest.FixtureRequest) -> Case:
    assert isinstance(request.param, Case)
    return request.param


@pytest.fixture
async def bench(case: Case) -> AsyncIterator[Bench]:
    async with set_up(case) as bench:
        yield bench


def text_of(events: list[StreamEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def reasoning_of(events: list[StreamEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, ReasoningDelta))


def usage_of(events: list[StreamEvent]) -> Usage:
    return [event.usage for event in events if isinstance(event, UsageReport)][-1]


class TestAnAnswer:
    @pytest.mark.parametrize("bytewise", [False, True], ids=["by event", "by byte"])
    async def test_arrives_whole_with_its_reasoning_and_ends_with_finish(self, bench: Bench, bytewise: bool) -> None:
        scenario = Scenario(bytewise=bytewise)

        events = await bench.events(scenario)

        assert text_of(events) == scenario.answer
        assert reasoning_of(events) == "".join(scenario.reasoning)
        assert events[-1] == Finish(FinishReason.STOP)
        assert [event for event in events if isinstance(event, Finish)] == [Finish(FinishReason.STOP)]
        assert not [event for event in events if isinstance(event, TextDelta | ReasoningDelta) and not event.text]

    async def test_arrives_piece_by_piece_while_it_is_written(self, bench: Bench) -> None:
        bench.standin.enqueue(Scenario(text=("one ", "two"), fault=Fault.STALL, fault_after=1, reasoning=()))

        async with bench.adapter.stream(bench.provider, KEY, bench.request) as stream:
            texts = (event async for event in stream if isinstance(event, TextDelta))

            assert await anext(texts) == TextDelta("one ")

    async def test_reports_usage_with_the_cached_tokens_in_the_total(self, bench: Bench) -> None:
        asked = play.Usage(input_tokens=100, cached_tokens=60, output_tokens=50, reasoning_tokens=20)

        usage = usage_of(await bench.events(Scenario(usage=asked)))

        assert usage == Usage(input_tokens=100, cached_input_tokens=60, output_tokens=50, reasoning_tokens=20)

    async def test_without_usage_reports_none_rather_than_zero(self, bench: Bench) -> None:
        events = await bench.events(Scenario(usage=None))

        assert events[-1] == Finish(FinishReason.STOP)
        assert not [event for event in events if isinstance(event, UsageReport)]

    async def test_cut_at_the_limit_ends_with_length(self, bench: Bench) -> None:
        events = await bench.events(Scenario(finish=play.Finish.LENGTH))

        assert events[-1] == Finish(FinishReason.LENGTH)
        assert text_of(events)

    async def test_filtered_ends_with_refusal(self, bench: Bench) -> None:
        events = await bench.events(Scenario(finish=play.Finish.FILTERED))

        assert events[-1] == Finish(FinishReason.REFUSAL)

    async def test_holds_as_many_of_the_providers_words_as_were_asked_for(self, bench: Bench) -> None:
        bench.request = replace(bench.request, parameters=Parameters(max_output_tokens=16))

        events = await bench.events(Scenario(text=tuple("abcdefghijklmnopqrstuvwxyz"), reasoning=()))

        assert text_of(events) == "abcdefghijklmnop"
        assert events[-1] == Finish(FinishReason.LENGTH)

    async def test_without_reasoning_when_none_is_wanted(self, bench: Bench) -> None:
        bench.request = replace(bench.request, parameters=Parameters(reasoning_effort=ReasoningEffort.NONE))

        events = await bench.events(Scenario())

        assert reasoning_of(events) == ""
        assert usage_of(events).reasoning_tokens == 0

    async def test_joins_a_character_that_json_splits_between_two_deltas(self, bench: Bench) -> None:
        events = await bench.events(Scenario(text=("a\ud83d", "\ude80b", "\udc00", "c\ud800"), reasoning=()))

        assert text_of(events) == "a🚀b\ufffdc\ufffd"

    async def test_may_contain_the_odd_characters_that_split_lines_elsewhere(self, bench: Bench) -> None:
        text = ("line\u2028separator", "next\x85line", "form\x0cfeed\r", "\n")

        assert text_of(await bench.events(Scenario(text=text, reasoning=()))) == "".join(text)

    async def test_many_at_once_do_not_mix(self, bench: Bench) -> None:
        texts = [tuple(f"{number}-{piece} " for piece in range(5)) for number in range(12)]
        answers = {"".join(text) for text in texts}
        bench.standin.enqueue(*(Scenario(text=text, piece_delay_seconds=0.001) for text in texts))

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(bench.events()) for _ in texts]

        assert {text_of(task.result()) for task in tasks} == answers


REPORTED = [
    (Failure.CONTEXT_TOO_LONG, Reason.CONTEXT_TOO_LONG, False, "too long for this model"),
    (Failure.INVALID_KEY, Reason.AUTHENTICATION, False, "does not accept this API key"),
    (Failure.OUT_OF_CREDIT, Reason.NO_BALANCE, False, "no balance left"),
    (Failure.FORBIDDEN, Reason.AUTHENTICATION, False, "does not allow this request"),
    (Failure.UNKNOWN_MODEL, Reason.REJECTED, False, "odel"),
    (Failure.RATE_LIMITED, Reason.RATE_LIMITED, True, "too many requests"),
    (Failure.SERVER_ERROR, Reason.OVERLOADED, True, "fault of its own (HTTP 500)"),
    (Failure.UNAVAILABLE, Reason.OVERLOADED, True, "overloaded"),
    (Failure.OVERLOADED, Reason.OVERLOADED, True, "overloaded"),
    (Failure.BAD_GATEWAY, Reason.OVERLOADED, True, "HTTP 502"),
]


class TestARefusedRequest:
    @pytest.mark.parametrize(("failure", "reason", "retryable", "words"), REPORTED, ids=[case[0] for case in REPORTED])
    async def test_becomes_a_failure_to_act_on(
        self, bench: Bench, failure: Failure, reason: Reason, retryable: bool, words: str
    ) -> None:
        events, failed = await bench.failure(Scenario(failure=failure))

        assert events == []
        assert (failed.reason, failed.retryable, failed.retry_after_seconds) == (reason, retryable, None)
        assert words in failed.message
        assert "<" not in failed.message
        assert len(bench.standin.requests) == 1, "the adapter must not repeat a request by itself"

    @pytest.mark.parametrize(("header", "seconds"), [("3", 3), ("2.2", 3), ("99999999", 86400), ("soon", None)])
    async def test_for_its_rate_tells_when_to_come_back(self, bench: Bench, header: str, seconds: int | None) -> None:
        _, failed = await bench.failure(Scenario(failure=Failure.RATE_LIMITED, retry_after=header))

        assert failed.reason is Reason.RATE_LIMITED
        assert failed.retry_after_seconds == seconds

    async def test_for_its_rate_may_tell_a_date(self, bench: Bench) -> None:
        _, failed = await bench.failure(
            Scenario(failure=Failure.RATE_LIMITED, retry_after="Wed, 21 Oct 2015 07:28:00 GMT")
        )

        assert failed.retry_after_seconds == 0

    async def test_without_a_key_is_not_even_sent(self, bench: Bench) -> None:
        _, failed = await bench.failure(key=None)

        assert failed.reason is Reason.AUTHENTICATION
        assert bench.standin.requests == []

    async def test_with_a_key_that_cannot_be_sent_is_not_sent(self, bench: Bench) -> None:
        _, failed = await bench.failure(key=Secret("sk-abc\ndef"))

        assert failed.reason is Reason.AUTHENTICATION
        assert bench.standin.requests == []

    async def test_by_nobody_listening_is_unreachable(self, case: Case) -> None:
        async with set_up(case) as bench:
            pass  # the stand-in is gone, its port is closed
        adapter = case.adapter(bench.base_url, PATIENT)

        with pytest.raises(ProviderFailed) as caught:
            async with adapter.stream(bench.provider, KEY, bench.request):
                pass
        await adapter.aclose()

        assert (caught.value.reason, caught.value.retryable) == (Reason.UNREACHABLE, True)

    @pytest.mark.parametrize(
        "endpoint", ["api.example.com", "http://", "http://[::1", "ftp://127.0.0.1/", "http://a:b/"]
    )
    async def test_by_what_is_no_address_says_so(self, bench: Bench, endpoint: str) -> None:
        bench.provider = replace(bench.provider, api_endpoint=endpoint)

        _, failed = await bench.failure()

        assert (failed.reason, failed.retryable) == (Reason.UNREACHABLE, False)
        assert "is not a web address" in failed.message

    async def test_by_the_wrong_address_says_so(self, bench: Bench) -> None:
        bench.provider = replace(bench.provider, api_endpoint=f"{bench.base_url}/not/here")

        _, failed = await bench.failure()

        assert (failed.reason, failed.retryable) == (Reason.REJECTED, False)


HALFWAY = 3


class TestABrokenStream:
    @pytest.mark.parametrize("after", [0, HALFWAY])
    @pytest.mark.parametrize(
        ("fault", "reason"),
        [
            (Fault.TRUNCATE, Reason.TRUNCATED),
            (Fault.DISCONNECT, Reason.TRUNCATED),
            (Fault.RESET, Reason.TRUNCATED),
            (Fault.BAD_JSON, Reason.MALFORMED),
            (Fault.ERROR_EVENT, Reason.OVERLOADED),
            (Fault.DOCUMENTED_ERROR_EVENT, Reason.OVERLOADED),
            (Fault.RESPONSE_FAILED, Reason.OVERLOADED),
        ],
    )
    async def test_gives_what_was_written_and_then_fails(
        self, bench: Bench, fault: Fault, reason: Reason, after: int
    ) -> None:
        scenario = Scenario(fault=fault, fault_after=after)

        events, failed = await bench.failure(scenario)

        # A reset may overtake what was sent before it.
        written = "".join(scenario.text[:after])
        assert text_of(events) == written or (fault is Fault.RESET and written.startswith(text_of(events)))
        assert (failed.reason, failed.retryable) == (reason, True)
        assert not [event for event in events if isinstance(event, Finish)]

    @pytest.mark.parametrize(
        ("failure", "reason", "retryable"),
        [
            (Failure.RATE_LIMITED, Reason.RATE_LIMITED, True),
            (Failure.OVERLOADED, Reason.OVERLOADED, True),
            (Failure.OUT_OF_CREDIT, Reason.NO_BALANCE, False),
            (Failure.CONTEXT_TOO_LONG, Reason.CONTEXT_TOO_LONG, False),
        ],
    )
    @pytest.mark.parametrize("fault", [Fault.ERROR_EVENT, Fault.DOCUMENTED_ERROR_EVENT])
    async def test_by_an_error_event_has_the_errors_own_reason(
        self, bench: Bench, fault: Fault, failure: Failure, reason: Reason, retryable: bool
    ) -> None:
        _, failed = await bench.failure(Scenario(fault=fault, fault_after=HALFWAY, failure=failure))

        assert (failed.reason, failed.retryable) == (reason, retryable)

    async def test_that_is_a_web_page_is_malformed(self, bench: Bench) -> None:
        events, failed = await bench.failure(Scenario(fault=Fault.NOT_A_STREAM))

        assert events == []
        assert failed.reason is Reason.MALFORMED

    async def test_after_all_the_text_is_broken_as_long_as_nobody_said_that_it_is_all(self, bench: Bench) -> None:
        scenario = Scenario(text=("all ", "of it"), fault=Fault.DISCONNECT, fault_after=2)

        events, failed = await bench.failure(scenario)

        assert text_of(events) == scenario.answer
        assert failed.reason is Reason.TRUNCATED

    async def test_leaves_the_next_request_alone(self, bench: Bench) -> None:
        await bench.failure(Scenario(fault=Fault.DISCONNECT, fault_after=HALFWAY))
        await bench.failure(Scenario(failure=Failure.SERVER_ERROR))

        events = await bench.events(Scenario())

        assert events[-1] == Finish(FinishReason.STOP)


class TestSilence:
    @pytest.mark.parametrize("fault", [Fault.HANG, Fault.STALL, Fault.STALL_ALIVE])
    async def test_before_the_first_token_ends_at_its_deadline(self, case: Case, fault: Fault) -> None:
        async with set_up(case, replace(PATIENT, first_token_seconds=0.5)) as bench:
            events, failed = await bench.failure(Scenario(fault=fault, reasoning=()))

        assert text_of(events) == ""
        assert (failed.reason, failed.retryable) == (Reason.TIMEOUT, True)
        assert "did not begin to answer within 0.5 s" in failed.message

    @pytest.mark.parametrize("fault", [Fault.STALL, Fault.STALL_ALIVE])
    @pytest.mark.parametrize(
        "scenario",
        [Scenario(reasoning=(), fault_after=HALFWAY), Scenario(reasoning=("Hm.",), fault_after=0)],
        ids=["of the answer", "of the thinking"],
    )
    async def test_in_the_middle_ends_at_the_idle_deadline(self, case: Case, fault: Fault, scenario: Scenario) -> None:
        async with set_up(case, replace(PATIENT, idle_seconds=0.5)) as bench:
            events, failed = await bench.failure(replace(scenario, fault=fault))

        assert text_of(events) or reasoning_of(events)
        assert failed.reason is Reason.TIMEOUT
        assert "fell silent for 0.5 s" in failed.message

    async def test_is_not_what_an_endless_answer_is_but_that_ends_too(self, case: Case) -> None:
        endless = Scenario(text=("word ",) * 2000, piece_delay_seconds=0.02)
        async with set_up(case, replace(PATIENT, total_seconds=2.0)) as bench:
            events, failed = await bench.failure(endless)

        assert text_of(events)
        assert failed.reason is Reason.TIMEOUT
        assert "not whole after 2 s" in failed.message

    async def test_of_the_reader_is_not_held_against_the_provider(self, case: Case) -> None:
        async with set_up(case, replace(PATIENT, idle_seconds=1.0)) as bench:
            bench.standin.enqueue(Scenario(text=("one ", "two"), reasoning=()))
            texts = []
            async with bench.adapter.stream(bench.provider, KEY, bench.request) as stream:
                async for event in stream:
                    if isinstance(event, TextDelta):
                        texts.append(event.text)
                        await asyncio.sleep(1.2)

        assert texts == ["one ", "two"]


class TestLeaving:
    """The provider must not go on writing, and billing, for nobody."""

    ENDLESS = Scenario(text=("word ",) * 10_000, piece_delay_seconds=0.01)

    async def test_the_context_closes_the_providers_stream(self, bench: Bench) -> None:
        bench.standin.enqueue(self.ENDLESS)

        async with bench.adapter.stream(bench.provider, KEY, bench.request) as stream:
            await anext(stream)
            assert bench.standin.streams_open == 1

        await bench.standin.wait_closed()
        assert bench.standin.streams_abandoned == 1

    async def test_by_an_error_of_the_reader_closes_it_and_keeps_the_error(self, bench: Bench) -> None:
        bench.standin.enqueue(self.ENDLESS)

        async def read_and_fail() -> None:
            async with bench.adapter.stream(bench.provider, KEY, bench.request) as stream:
                await anext(stream)
                raise ValueError("the reader's own")

        with pytest.raises(ValueError, match="the reader's own"):
            await read_and_fail()

        await bench.standin.wait_closed()
        assert bench.standin.streams_abandoned == 1

    @pytest.mark.parametrize("fault", [None, Fault.HANG, Fault.STALL], ids=["writing", "hanging", "stalling"])
    async def test_by_cancellation_closes_it(self, bench: Bench, fault: Fault | None) -> None:
        scenario = self.ENDLESS if fault is None else Scenario(fault=fault)
        task = asyncio.create_task(bench.events(scenario))
        await bench.standin.wait_requests(1)
        await until(lambda: bench.standin.streams_open > 0)

        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

        assert task.cancelled()
        await bench.standin.wait_closed()
        assert bench.standin.streams_abandoned == 1


class TestKeys:
    @staticmethod
    def everything_said_by(error: BaseException) -> str:
        """All that a log or a debugger's traceback may show of an error and those behind it."""
        said = []
        seen: list[BaseException] = []
        pending: list[BaseException | None] = [error]
        while pending:
            current = pending.pop()
            if current is None or current in seen:
                continue
            seen.append(current)
            notes = getattr(current, "__notes__", [])
            said += [str(current), repr(current), repr(current.args), repr(vars(current)), *notes]
            pending += [current.__cause__, current.__context__]
        return "\n".join(said)

    @pytest.mark.parametrize(
        "scenario",
        [
            *(Scenario(failure=failure) for failure in Failure),
            *(Scenario(fault=fault, fault_after=0) for fault in Fault),
        ],
        ids=[*Failure, *Fault],
    )
    async def test_and_prompts_are_in_no_error(self, case: Case, scenario: Scenario) -> None:
        async with set_up(case, replace(PATIENT, first_token_seconds=0.5, idle_seconds=0.5)) as bench:
            _, failed = await bench.failure(scenario)

        said = self.everything_said_by(failed)
        self.assert_silent(said, KEY)

    async def test_rejected_by_the_provider_are_not_repeated(self, bench: Bench) -> None:
        _, failed = await bench.failure(key=REJECTED_KEY)

        assert failed.reason is Reason.AUTHENTICATION
        said = self.everything_said_by(failed)
        self.assert_silent(said, REJECTED_KEY)
        assert REJECTED_KEY.reveal()[-4:] not in said, "not even the end of the key"

    async def test_that_cannot_be_sent_are_not_repeated(self, bench: Bench) -> None:
        key = Secret("sk-proj-with\u00e4-Qx7vR2mK9wLp\n")
        _, failed = await bench.failure(key=key)

        self.assert_silent(self.everything_said_by(failed), key)

    async def test_and_prompts_are_in_no_log(self, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)

        await bench.events()
        await bench.failure(Scenario(failure=Failure.SERVER_ERROR))

        assert caplog.records, "the transport does log, so there was something to look through"
        for record in caplog.records:
            self.assert_silent(f"{record.getMessage()} {record.args} {record.exc_text}", KEY)

    async def test_of_each_request_are_its_own(self, bench: Bench) -> None:
        other = Secret("sk-proj-of-somebody-else")
        async with asyncio.TaskGroup() as group:
            group.create_task(bench.events(key=KEY))
            group.create_task(bench.events(key=other))

        sent = {request.headers["authorization"] for request in bench.standin.requests}
        assert sent == {f"Bearer {KEY.reveal()}", f"Bearer {other.reveal()}"}

    async def test_and_headers_of_the_process_environment_stay_at_home(
        self, case: Case, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("OPENAI", "ANTHROPIC"):
            monkeypatch.setenv(f"{name}_CUSTOM_HEADERS", "x-secret-of-the-operator: 1\nAuthorization: Bearer sk-env")
            monkeypatch.setenv(f"{name}_API_KEY", "sk-env")
            monkeypatch.setenv(f"{name}_BASE_URL", "http://127.0.0.1:9/env")
        monkeypatch.setenv("OPENAI_ORG_ID", "org-env")
        monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-env")
        monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "sk-env")
        async with set_up(case) as bench:
            await bench.events()

        headers = bench.standin.requests[0].headers
        assert headers["authorization"] == f"Bearer {KEY.reveal()}"
        assert not [value for value in headers.values() if "env" in value]
        assert not {"x-secret-of-the-operator", "openai-organization", "openai-project", "x-api-key"} & headers.keys()

    @staticmethod
    def assert_silent(said: str, key: Secret) -> None:
        for part in {key.reveal(), *re.findall(r"\w{6,}", key.reveal())} - {"invalid"}:
            assert part not in said
        for word in PROMPT.split():
            if len(word) > 8:
                assert word not in said


class TestModels:
    async def test_are_listed_by_the_providers_own_endpoint(self, bench: Bench) -> None:
        models = await bench.adapter.models(bench.provider, KEY)

        assert bench.request.model.id in {model.id for model in models}
        assert [request.path.endswith("/models") for request in bench.standin.requests] == [True]

    async def test_that_are_known_come_with_what_is_known(self, bench: Bench) -> None:
        known = Model(id=bench.request.model.id, name="A known one", context_window=77, max_output_tokens=7)
        bench.provider = replace(bench.provider, models=(known,))

        models = {model.id: model for model in await bench.adapter.models(bench.provider, KEY)}

        if bench.kind is ProviderKind.ANTHROPIC:
            assert models[known.id].name == "Claude Haiku 5.5", "what Anthropic tells is newer"
        else:
            assert models[known.id] == known

    async def test_are_refused_to_a_bad_key(self, bench: Bench) -> None:
        with pytest.raises(ProviderFailed) as caught:
            await bench.adapter.models(bench.provider, REJECTED_KEY)

        assert caught.value.reason is Reason.AUTHENTICATION

    async def test_from_the_wrong_address_are_a_failure(self, bench: Bench) -> None:
        with pytest.raises(AssistantError):
            await bench.adapter.models(replace(bench.provider, api_endpoint=f"{bench.base_url}/not/here"), KEY)


async def test_the_providers_own_endpoint_wins(case: Case) -> None:
    async with set_up(case) as bench, set_up(case) as other:
        bench.provider = replace(bench.provider, api_endpoint=other.base_url)
        await bench.events()

        assert (len(bench.standin.requests), len(other.standin.requests)) == (0, 1)


async def test_connections_are_kept_for_the_next_request(case: Case) -> None:
    ports: set[str] = set()
    async with set_up(case) as bench:
        app = bench.standin.app

        async def noting(scope, receive, send) -> None:  # type: ignore[no-untyped-def]  # plain ASGI
            ports.add(scope["client"])
            await app(scope, receive, send)

        bench.standin.app = noting
        for _ in range(3):
            await bench.events()

    assert len(ports) == 1


async def test_warming_up_talks_to_nobody(bench: Bench) -> None:
    await bench.adapter.warm_up()

    assert bench.standin.requests == []


async def test_closing_what_was_never_used_is_fine(case: Case) -> None:
    await case.adapter(None, PATIENT).aclose()
