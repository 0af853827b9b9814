"""Streams as the providers write them, always the same, from a process of their own."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, Final

from domain.provider import ProviderKind

MODEL: Final = "a-model"
WORD: Final = "word "
# So many arrive together, as they do from a provider that is a little faster than the network.
EVENTS_PER_WRITE: Final = 4


def _openai_events(count: int) -> Iterator[Mapping[str, Any]]:
    for number in range(count):
        yield {
            "type": "response.output_text.delta",
            "content_index": 0,
            "delta": WORD,
            "item_id": "msg_68af4030592c81938ec0a5fbab4a3e9f05438e46b5f69a3b",
            "logprobs": [],
            "obfuscation": "YmFzZTY0",
            "output_index": 0,
            "sequence_number": number + 4,
        }
    yield {"type": "response.completed", "sequence_number": count + 4, "response": {"id": "resp_1", "usage": None}}


def _anthropic_events(count: int) -> Iterator[Mapping[str, Any]]:
    usage = {"input_tokens": 9, "output_tokens": 1}
    yield {"type": "message_start", "message": {"id": "msg_1", "type": "message", "content": [], "usage": usage}}
    for _ in range(count):
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": WORD}}
    yield {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": count}}
    yield {"type": "message_stop"}


def _deepseek_events(count: int) -> Iterator[Mapping[str, Any]]:
    for number in range(count + 1):
        is_last = number == count
        delta = {} if is_last else {"content": WORD, "reasoning_content": None}
        yield {
            "id": "930c60df-bf64-41c9-a88e-3ec75f81e00e",
            "choices": [{"index": 0, "delta": delta, "finish_reason": "stop" if is_last else None, "logprobs": None}],
            "created": 1_705_651_092,
            "model": MODEL,
            "object": "chat.completion.chunk",
            "system_fingerprint": "fp_10e9b83a7f",
        }


STREAMS: Final[Mapping[ProviderKind, Callable[[int], Iterator[Mapping[str, Any]]]]] = {
    ProviderKind.OPENAI: _openai_events,
    ProviderKind.ANTHROPIC: _anthropic_events,
    ProviderKind.DEEPSEEK: _deepseek_events,
}


@contextmanager
def streaming(events_of: Callable[[int], Iterator[Mapping[str, Any]]], count: int) -> Iterator[str]:
    """A process that answers every request with the same stream; its address."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, list(events_of(count))), daemon=True)
    process.start()
    try:
        if not ours.poll(60):
            raise RuntimeError("the server has not started")
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


def _serve(pipe: Connection, events: list[Mapping[str, Any]]) -> None:
    written = [
        (f"event: {event['type']}\n" if "type" in event else "") + f"data: {json.dumps(event)}\n\n" for event in events
    ]
    written.append("data: [DONE]\n\n" if "type" not in events[0] else "")
    parts = ["".join(written[at : at + EVENTS_PER_WRITE]).encode() for at in range(0, len(written), EVENTS_PER_WRITE)]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    body = b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in parts if part) + b"0\r\n\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await reader.readuntil(b"\r\n\r\n"):
            lengths = [line for line in request.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            await reader.readexactly(int(lengths[0][15:]))
            writer.write(head + body)
            await writer.drain()

    async def serve() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())
