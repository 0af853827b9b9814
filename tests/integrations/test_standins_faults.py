"""What the real SDKs make of each way in which a stand-in AI provider fails."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from openai.types.responses import ResponseStreamEvent

from tests.standins.scenario import Failure, Fault, Scenario
from tests.standins.sdks import (
    OPENAI_SDK,
    PROMPT,
    PROTOCOLS,
    READ_TIMEOUT_SECONDS,
    Broken,
    Chat,
    Conversation,
    assert_valid,
    conversation,
)

TEXT = ("Hel", "lo, ", "naïve ", "wörld ", "👩‍🚀", "!")
BROKEN_AFTER = 3
# Long enough for what is sent to arrive on a busy machine.
SHORT_TIMEOUT_SECONDS = 1.0


@pytest.fixture
async def talk(request: pytest.FixtureRequest) -> AsyncIterator[Conversation]:
    async with conversation(request.param) as talk:
        yield talk


everywhere = pytest.mark.parametrize("talk", PROTOCOLS, indirect=True)


def outcome(fault: Fault, name: str) -> type[Exception] | None:
    """What the SDK raises in the middle of a stream; None means nothing at all."""
    by_openai = name in OPENAI_SDK
    match fault:
        case Fault.STALL:
            return openai.APITimeoutError if by_openai else httpx2.ReadTimeout
        case Fault.DISCONNECT:
            return openai.APIConnectionError if by_openai else httpx2.RemoteProtocolError
        case Fault.RESET:
            return openai.APIConnectionError if by_openai else httpx2.ReadError
        case Fault.BAD_JSON:
            return json.JSONDecodeError
        case Fault.ERROR_EVENT:
            return openai.APIError if by_openai else anthropic.APIStatusError
        case Fault.DOCUMENTED_ERROR_EVENT | Fault.RESPONSE_FAILED:
            by_event = None if name == "responses" else openai.APIError
            return by_event if by_openai else anthropic.APIStatusError
        case _:
            return None


MIDWAY = [fault for fault in Fault if fault not in (Fault.HANG, Fault.NOT_A_STREAM, Fault.STALL_ALIVE)]


@pytest.mark.parametrize("fault", MIDWAY)
@pytest.mark.parametrize("after", [0, BROKEN_AFTER, len(TEXT)])
@pytest.mark.parametrize("name", PROTOCOLS)
async def test_fault_midway(name: str, fault: Fault, after: int) -> None:
    patience_seconds = SHORT_TIMEOUT_SECONDS if fault is Fault.STALL else READ_TIMEOUT_SECONDS
    async with conversation(name, read_timeout_seconds=patience_seconds) as talk:
        talk.standin.enqueue(Scenario(text=TEXT, fault=fault, fault_after=after))
        expected = outcome(fault, name)
        if expected is None:
            events = await talk.ask()
        else:
            with pytest.raises(Broken) as caught:
                await talk.ask()
            events = caught.value.events
            assert type(caught.value.__cause__) is expected
        if fault is Fault.RESET:
            # A reset may overtake what was sent before it.
            assert "".join(TEXT[:after]).startswith(talk.text(events))
        else:
            assert talk.text(events) == "".join(TEXT[:after])
        await talk.standin.wait_closed()
    if fault in (Fault.STALL, Fault.DISCONNECT, Fault.RESET):
        assert talk.standin.streams_abandoned == 1


@everywhere
async def test_truncation_lacks_the_events_that_end_an_answer(talk: Conversation) -> None:
    talk.standin.enqueue(Scenario(text=TEXT, fault=Fault.TRUNCATE, fault_after=len(TEXT)))
    events = await talk.ask()
    assert talk.text(events) == "".join(TEXT)
    if isinstance(talk, Chat):
        assert all(chunk.choices[0].finish_reason is None for chunk in events)
    else:
        types = {event.type for event in events}
        assert types.isdisjoint({"response.completed", "message_delta", "message_stop"})


@pytest.mark.parametrize("name", PROTOCOLS)
async def test_hang_runs_into_the_read_timeout(name: str) -> None:
    async with conversation(name, read_timeout_seconds=SHORT_TIMEOUT_SECONDS) as talk:
        talk.standin.enqueue(Scenario(fault=Fault.HANG))
        with pytest.raises((openai.APITimeoutError, anthropic.APITimeoutError)):
            await talk.open()
        await talk.standin.wait_closed()


@pytest.mark.parametrize("name", PROTOCOLS)
async def test_heartbeats_keep_a_stall_from_the_read_timeout(name: str) -> None:
    scenario = Scenario(text=TEXT, fault=Fault.STALL_ALIVE, fault_after=BROKEN_AFTER, heartbeat_seconds=0.02)
    async with conversation(name, read_timeout_seconds=SHORT_TIMEOUT_SECONDS) as talk:
        talk.standin.enqueue(scenario)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SHORT_TIMEOUT_SECONDS * 2):
                await talk.ask()
        await talk.standin.wait_closed()
    assert talk.standin.streams_abandoned == 1


@pytest.mark.parametrize("talk", ["responses"], indirect=True)
async def test_responses_heartbeat_has_a_type_of_its_own_but_any_class(talk: Conversation) -> None:
    talk.standin.enqueue(Scenario(text=TEXT, fault=Fault.STALL_ALIVE, fault_after=BROKEN_AFTER))
    stream: Any = await talk.open()
    async for event in stream:
        if event.type == "keepalive":
            # The SDK does not know the type and takes the first class of its union: only `type` tells events apart.
            assert type(event).__name__ == "ResponseAudioDeltaEvent"
            break
    await stream.close()
    await talk.standin.wait_closed()


@everywhere
async def test_a_page_of_html_in_place_of_a_stream_yields_nothing(talk: Conversation) -> None:
    talk.standin.enqueue(Scenario(fault=Fault.NOT_A_STREAM))
    assert await talk.ask() == []


@pytest.mark.parametrize("talk", ["messages"], indirect=True)
async def test_helper_asserts_on_a_page_of_html(talk: Conversation) -> None:
    talk.standin.enqueue(Scenario(fault=Fault.NOT_A_STREAM))
    message = {"role": "user", "content": PROMPT}
    async with talk.client.messages.stream(model="claude-opus-5-5", max_tokens=9, messages=[message]) as stream:
        with pytest.raises(AssertionError):
            await stream.get_final_message()


@pytest.mark.parametrize("talk", ["responses"], indirect=True)
async def test_responses_reports_errors_by_events(talk: Conversation) -> None:
    for fault in (Fault.DOCUMENTED_ERROR_EVENT, Fault.RESPONSE_FAILED):
        talk.standin.enqueue(Scenario(text=TEXT, fault=fault, fault_after=2, failure=Failure.RATE_LIMITED))
    documented = await talk.ask()
    assert_valid(documented, ResponseStreamEvent)
    assert (documented[-1].type, documented[-1].code) == ("error", "rate_limit_exceeded")
    failed = await talk.ask()
    assert_valid(failed, ResponseStreamEvent)
    assert (failed[-1].type, failed[-1].response.status) == ("response.failed", "failed")
    assert failed[-1].response.error.code == "rate_limit_exceeded"


@everywhere
async def test_error_event_carries_the_failure(talk: Conversation) -> None:
    talk.standin.enqueue(Scenario(fault=Fault.ERROR_EVENT, failure=Failure.OVERLOADED))
    with pytest.raises(Broken) as caught:
        await talk.ask()
    error = caught.value.__cause__
    if isinstance(error, anthropic.APIStatusError):
        assert (error.status_code, error.type) == (200, "overloaded_error")
    else:
        assert isinstance(error, openai.APIError)
        assert not hasattr(error, "status_code")
        assert error.code in ("slow_down", "service_unavailable")


@everywhere
async def test_closing_the_stream_closes_it_at_the_provider(talk: Conversation) -> None:
    talk.standin.enqueue(Scenario(text=TEXT, fault=Fault.STALL, fault_after=BROKEN_AFTER))
    stream: Any = await talk.open()
    await anext(stream)
    assert talk.standin.streams_open == 1
    await stream.close()
    await talk.standin.wait_closed()
    assert talk.standin.streams_abandoned == 1


@everywhere
async def test_cancelling_the_reader_closes_the_stream_at_the_provider(talk: Conversation) -> None:
    talk.standin.enqueue(Scenario(fault=Fault.HANG))
    async with asyncio.TaskGroup() as group:
        reader = group.create_task(talk.ask())
        await talk.standin.wait_requests(1)
        reader.cancel()
    await talk.standin.wait_closed()
    assert talk.standin.streams_opened == talk.standin.streams_abandoned == 1
