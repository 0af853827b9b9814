"""The stand-in AI providers' answers, their lists of models, and how they are served."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from anthropic.types import RawMessageStreamEvent
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent

from tests.standins.anthropic import AnthropicStandin, ClaudeModel
from tests.standins.deepseek import DeepSeekStandin
from tests.standins.openai import OpenAIStandin
from tests.standins.scenario import DEFAULT_ANSWER, DEFAULT_REASONING, Fault, Finish, Scenario, Usage, cut
from tests.standins.sdks import (
    PROMPT,
    PROTOCOLS,
    STATUS_ERRORS,
    Broken,
    Chat,
    Conversation,
    DeepSeek,
    Messages,
    Responses,
    assert_valid,
    conversation,
    make_client,
)
from tests.standins.server import running, running_in_thread

TEXT = ("Hel", "lo, ", "naïve ", "wörld ", "👩‍🚀", "!")
BROKEN_AFTER = 3


@pytest.fixture
async def talk(request: pytest.FixtureRequest) -> AsyncIterator[Conversation]:
    async with conversation(request.param) as talk:
        yield talk


everywhere = pytest.mark.parametrize("talk", PROTOCOLS, indirect=True)


@pytest.mark.parametrize("talk", ["responses"], indirect=True)
async def test_responses_writes_the_documented_sequence(talk: Conversation) -> None:
    usage = Usage(input_tokens=90, cached_tokens=40, cache_write_tokens=5, output_tokens=70, reasoning_tokens=9)
    talk.standin.enqueue(Scenario(text=TEXT, usage=usage))
    events = await talk.ask(reasoning={"summary": "auto", "effort": "low"}, instructions="Be kind")
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.reasoning_summary_part.added",
        *["response.reasoning_summary_text.delta"] * len(DEFAULT_REASONING),
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * len(TEXT),
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert_valid(events, ResponseStreamEvent)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert talk.text(events) == "".join(TEXT)
    response = events[-1].response
    assert response.output_text == "".join(TEXT)
    assert response.output[0].summary[0].text == "".join(DEFAULT_REASONING)
    assert response.usage.input_tokens == 90
    assert response.usage.input_tokens_details.cached_tokens == 40
    assert response.usage.input_tokens_details.cache_write_tokens == 5
    assert response.usage.output_tokens_details.reasoning_tokens == 9
    assert response.usage.total_tokens == 160
    request = talk.standin.requests[-1]
    assert request.path == "/v1/responses"
    assert request.body is not None
    assert request.body["store"] is False
    assert request.headers["authorization"] == "Bearer sk-standin"


@pytest.mark.parametrize("talk", ["responses"], indirect=True)
async def test_responses_shows_reasoning_only_when_asked(talk: Conversation) -> None:
    types = {event.type for event in await talk.ask()}
    assert not any("reasoning" in type_ for type_ in types)
    events = await talk.ask(reasoning={"effort": "none"}, temperature=0.3)
    assert events[-1].response.usage.output_tokens_details.reasoning_tokens == 0
    assert len(events[-1].response.output) == 1


@pytest.mark.parametrize("talk", ["chat"], indirect=True)
async def test_chat_sends_usage_in_a_chunk_without_choices(talk: Conversation) -> None:
    talk.standin.enqueue(Scenario(text=TEXT, usage=Usage(input_tokens=50, cached_tokens=20)), Scenario())
    chunks = await talk.ask(stream_options={"include_usage": True})
    assert_valid(chunks, ChatCompletionChunk)
    assert talk.text(chunks) == "".join(TEXT)
    *_, finish, last = chunks
    assert finish.choices[0].finish_reason == "stop"
    assert last.choices == []
    assert last.usage.prompt_tokens == 50
    assert last.usage.prompt_tokens_details.cached_tokens == 20
    assert all(chunk.usage is None for chunk in await talk.ask())


@pytest.mark.parametrize("talk", ["deepseek"], indirect=True)
async def test_deepseek_thinks_beside_the_content_unless_told_not_to(talk: Conversation) -> None:
    talk.standin.enqueue(Scenario(text=TEXT, usage=Usage(input_tokens=50, cached_tokens=20)))
    chunks = await talk.ask(stream_options={"include_usage": True})
    assert_valid(chunks, ChatCompletionChunk)
    thoughts = [getattr(chunk.choices[0].delta, "reasoning_content", None) for chunk in chunks if chunk.choices]
    assert "".join(thought or "" for thought in thoughts) == "".join(DEFAULT_REASONING)
    assert talk.text(chunks) == "".join(TEXT)
    assert (chunks[-1].usage.prompt_cache_hit_tokens, chunks[-1].usage.prompt_cache_miss_tokens) == (20, 30)
    chunks = await talk.ask(extra_body={"thinking": {"type": "disabled"}})
    assert not any(hasattr(chunk.choices[0].delta, "reasoning_content") for chunk in chunks)
    # Without include_usage it comes with the finish reason.
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens_details.reasoning_tokens == 0


async def test_deepseek_answers_with_and_without_v1() -> None:
    standin = DeepSeekStandin()
    async with running(standin) as base_url:
        for url in (base_url, f"{base_url}/v1"):
            async with make_client(standin, url) as client:
                assert [model.id async for model in client.models.list()] == ["deepseek-flash", "deepseek-v4-pro"]
                await DeepSeek(standin, client).ask()
    assert [request.path for request in standin.requests] == [
        "/models",
        "/chat/completions",
        "/v1/models",
        "/v1/chat/completions",
    ]


@pytest.mark.parametrize("talk", ["messages"], indirect=True)
async def test_messages_writes_the_documented_sequence(talk: Conversation) -> None:
    usage = Usage(input_tokens=90, cached_tokens=40, cache_write_tokens=20, output_tokens=70, reasoning_tokens=9)
    talk.standin.enqueue(Scenario(text=TEXT, usage=usage))
    events = await talk.ask(thinking={"type": "adaptive", "display": "summarized"})
    delta = "content_block_delta"
    assert [event.type for event in events] == [
        "message_start",
        "content_block_start",
        *[delta] * (len(DEFAULT_REASONING) + 1),
        "content_block_stop",
        "content_block_start",
        *[delta] * len(TEXT),
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert_valid(events, RawMessageStreamEvent)
    deltas = [event.delta for event in events if event.type == delta]
    assert "".join(delta.thinking for delta in deltas if delta.type == "thinking_delta") == "".join(DEFAULT_REASONING)
    assert [delta.type for delta in deltas].count("signature_delta") == 1
    assert talk.text(events) == "".join(TEXT)
    started = events[0].message.usage
    assert (started.input_tokens, started.cache_read_input_tokens, started.cache_creation_input_tokens) == (30, 40, 20)
    assert events[-2].delta.stop_reason == "end_turn"
    assert events[-2].usage.output_tokens == 70
    assert events[-2].usage.output_tokens_details.thinking_tokens == 9


@pytest.mark.parametrize("talk", ["messages"], indirect=True)
async def test_messages_omits_thoughts_by_default_and_helper_reads_the_stream(talk: Conversation) -> None:
    arguments: dict[str, Any] = {"max_tokens": 99, "messages": [{"role": "user", "content": PROMPT}]}
    async with talk.client.messages.stream(model="claude-opus-5-5", **arguments) as stream:
        message = await stream.get_final_message()
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[0].thinking == ""
    assert message.content[0].signature
    assert message.content[1].text == DEFAULT_ANSWER
    async with talk.client.messages.stream(
        model="claude-haiku-5-5", thinking={"type": "disabled"}, **arguments
    ) as stream:
        message = await stream.get_final_message()
    assert [block.type for block in message.content] == ["text"]


@everywhere
async def test_default_answer_survives_single_byte_writes(talk: Conversation) -> None:
    assert 35 <= len(Scenario().text) <= 45
    talk.standin.enqueue(Scenario(bytewise=True))
    assert talk.text(await talk.ask()) == DEFAULT_ANSWER


@everywhere
async def test_prompt_can_name_its_scenario_and_the_queue_comes_first(talk: Conversation) -> None:
    said = "please standin:rate-limited now"
    arguments: dict[str, Any] = {"messages": [{"role": "user", "content": said}]}
    if isinstance(talk, Responses):
        arguments = {"input": said}
    talk.standin.enqueue(Scenario(text=("queued",)))
    assert talk.text(await talk.ask(**arguments)) == "queued"
    with pytest.raises(STATUS_ERRORS) as caught:
        await talk.ask(**arguments)
    assert caught.value.response.headers["retry-after"] == "3"


FINISHES = [
    ("responses", Finish.LENGTH, "incomplete"),
    ("responses", Finish.FILTERED, "incomplete"),
    ("responses", Finish.REFUSAL, "completed"),
    ("chat", Finish.LENGTH, "length"),
    ("chat", Finish.FILTERED, "content_filter"),
    ("chat", Finish.REFUSAL, "stop"),
    ("deepseek", Finish.LENGTH, "length"),
    ("deepseek", Finish.INTERRUPTED, "insufficient_system_resource"),
    ("messages", Finish.LENGTH, "max_tokens"),
    ("messages", Finish.REFUSAL, "refusal"),
    ("messages", Finish.INTERRUPTED, "pause_turn"),
    ("messages", Finish.CONTEXT_FULL, "model_context_window_exceeded"),
]


@pytest.mark.parametrize(("talk", "finish", "expected"), FINISHES, indirect=["talk"])
async def test_finish(talk: Conversation, finish: Finish, expected: str) -> None:
    talk.standin.enqueue(Scenario(text=TEXT, finish=finish))
    events = await talk.ask()
    match talk:
        case Responses():
            assert_valid(events, ResponseStreamEvent)
            assert events[-1].response.status == expected
            reasons = {Finish.LENGTH: "max_output_tokens", Finish.FILTERED: "content_filter"}
            details = events[-1].response.incomplete_details
            assert (details.reason if details else None) == reasons.get(finish)
        case Messages():
            assert_valid(events, RawMessageStreamEvent)
            assert events[-2].delta.stop_reason == expected
            assert (events[-2].delta.stop_details is not None) == (finish is Finish.REFUSAL)
        case _:
            assert events[-1].choices[0].finish_reason == expected


@pytest.mark.parametrize("talk", ["responses", "chat"], indirect=True)
async def test_openai_refuses_in_deltas_of_their_own(talk: Conversation) -> None:
    talk.standin.enqueue(Scenario(text=TEXT, finish=Finish.REFUSAL))
    events = await talk.ask()
    assert talk.text(events) == ""
    if isinstance(talk, Responses):
        refusal = "".join(event.delta for event in events if event.type == "response.refusal.delta")
    else:
        refusal = "".join(chunk.choices[0].delta.refusal or "" for chunk in events)
    assert refusal == "".join(TEXT)


@everywhere
async def test_token_limit_of_the_request_cuts_the_answer(talk: Conversation) -> None:
    limits = {Responses: "max_output_tokens", Chat: "max_completion_tokens"}
    text = cut("x" * 100, 1)
    talk.standin.enqueue(Scenario(text=text, reasoning=("hm",)))
    events = await talk.ask(**{limits.get(type(talk), "max_tokens"): 21})
    assert talk.text(events) == "x" * 20


@everywhere
async def test_usage_can_be_missing(talk: Conversation) -> None:
    talk.standin.enqueue(Scenario(text=TEXT, usage=None))
    options = {"stream_options": {"include_usage": True}} if isinstance(talk, Chat) else {}
    events = await talk.ask(**options)
    if isinstance(talk, Responses):
        assert events[-1].response.usage is None
    elif isinstance(talk, Chat):
        assert all(chunk.usage is None for chunk in events)
    else:
        assert events[-2].usage.output_tokens == 0


async def test_openai_lists_models_of_every_kind() -> None:
    standin = OpenAIStandin()
    async with running(standin) as base_url, make_client(standin, base_url) as client:
        listed = [model.id async for model in client.models.list()]
    assert {"gpt-6.2-sol", "text-embedding-3-large"} <= set(listed)


async def test_anthropic_pages_its_models_and_tells_their_limits() -> None:
    models = tuple(
        ClaudeModel(id=f"claude-opus-t{number:02}", display_name=f"Test {number}", created_at="2026-01-01T00:00:00Z")
        for number in range(45)
    )
    standin = AnthropicStandin(models=models)
    async with running(standin) as base_url, make_client(standin, base_url) as client:
        listed = [model async for model in client.models.list()]
        before = await client.models.list(before_id="claude-opus-t10", limit=3)
        one = await client.models.retrieve("claude-opus-t07")
        with pytest.raises(anthropic.BadRequestError):
            await client.models.list(limit=1001)
    assert [model.id for model in listed] == [model.id for model in models]
    assert (listed[0].max_input_tokens, listed[0].max_tokens) == (1_000_000, 128_000)
    type(listed[0]).model_validate(listed[0].to_dict())
    assert [request.query.get("after_id") for request in standin.requests[:3]] == [
        None,
        "claude-opus-t19",
        "claude-opus-t39",
    ]
    assert ([model.id for model in before.data], before.has_more) == (
        ["claude-opus-t07", "claude-opus-t08", "claude-opus-t09"],
        True,
    )
    assert one.id == "claude-opus-t07"


async def test_anthropic_hides_retired_models_unless_asked() -> None:
    retired = ClaudeModel(
        id="claude-opus-4", display_name="Old", created_at="2025-01-01T00:00:00Z", lifecycle="retired"
    )
    standin = AnthropicStandin(models=(retired,))
    async with running(standin) as base_url, make_client(standin, base_url) as client:
        assert (await client.models.list()).data == []
        assert len((await client.models.list(lifecycle=["retired"])).data) == 1


async def test_stopping_does_not_wait_for_open_streams() -> None:
    standin = OpenAIStandin()
    standin.enqueue(*[Scenario(fault=Fault.STALL)] * 2, Scenario(fault=Fault.HANG))
    async with asyncio.TaskGroup() as group:
        async with running(standin) as base_url:
            client = make_client(standin, base_url).with_options(timeout=60)
            readers = [group.create_task(fails_to_connect(Responses(standin, client))) for _ in range(3)]
            await standin.wait_requests(3)
        assert standin.streams_open == 0
        await asyncio.gather(*readers)
        await client.close()


async def fails_to_connect(talk: Conversation) -> None:
    with pytest.raises((Broken, openai.APIConnectionError)):
        await talk.ask()


async def test_a_scenario_the_provider_cannot_play_is_refused() -> None:
    with pytest.raises(ValueError, match="openai has no way"):
        OpenAIStandin().enqueue(Scenario(finish=Finish.INTERRUPTED))
    with pytest.raises(ValueError, match="has 6 pieces"):
        Scenario(text=TEXT, fault=Fault.STALL, fault_after=7)


async def test_a_defect_of_the_standin_is_not_swallowed() -> None:
    async def ask_what_cannot_be_played() -> None:
        async with conversation("responses") as talk:
            talk.standin.default = Scenario(finish=Finish.CONTEXT_FULL)
            with pytest.raises(openai.InternalServerError):
                await talk.ask()

    with pytest.raises(ExceptionGroup, match="the stand-in is broken"):
        await ask_what_cannot_be_played()


def test_a_thread_of_its_own_serves_a_blocking_client() -> None:
    standin = OpenAIStandin()
    with running_in_thread(standin) as base_url, openai.OpenAI(api_key="k", base_url=base_url, max_retries=0) as client:
        chunks = client.chat.completions.create(
            model="gpt-6.2-sol", messages=[{"role": "user", "content": PROMPT}], stream=True
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == DEFAULT_ANSWER


async def test_command_serves_until_interrupted() -> None:
    command = [sys.executable, "-m", "tests.standins.serve", "--delay", "0"]
    options = [part for name in ("openai", "anthropic", "deepseek") for part in (f"--{name}", "0")]
    root = Path(__file__).parents[2]
    process = await asyncio.create_subprocess_exec(
        *command, *options, cwd=root, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        lines = [(await process.stdout.readline()).decode().split() for _ in range(4)]
        urls = {name: url for name, url, *_ in lines[:3]}
        standin = DeepSeekStandin()
        async with make_client(standin, urls["deepseek"]) as client:
            assert DeepSeek(standin, client).text(await DeepSeek(standin, client).ask()) == DEFAULT_ANSWER
        process.send_signal(signal.SIGINT)
        _, complaints = await process.communicate()
        assert (process.returncode, complaints) == (0, b"")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
