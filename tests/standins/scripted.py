"""A server that answers each request with the next of some prepared answers: for what no scenario has."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any


class End(Enum):
    """What happens after the last byte of a body."""

    CLEAN = auto()
    DROP = auto()
    # Nothing more, until the client goes away.
    HOLD = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One response; its parts are sent one after the other, as chunks."""

    parts: Sequence[bytes]
    status: int = 200
    content_type: str = "text/event-stream"
    headers: Sequence[str] = ()
    end: End = End.CLEAN


def events(*data: object) -> Answer:
    """A stream of events, named by their `type` when they have one; a text is sent as it is."""
    return Answer(parts=[event(item) for item in data])


def event(data: object) -> bytes:
    """One server-sent event."""
    text = data if isinstance(data, str) else json.dumps(data)
    name = f"event: {data['type']}\n" if isinstance(data, dict) and "type" in data else ""
    return f"{name}data: {text}\n\n".encode()


def error(status: int, body: object) -> Answer:
    """A refusal in JSON."""
    return Answer(status=status, parts=[json.dumps(body).encode()], content_type="application/json")


@dataclass
class ScriptedServer:
    """`bodies` are the JSON bodies of the requests so far."""

    answers: list[Answer]
    base_url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)  # Any: parsed JSON

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, for one request."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = next((int(line[15:]) for line in head.split("\r\n") if line.startswith("content-length:")), 0)
            body = await reader.readexactly(length)
            self.bodies.append(json.loads(body) if body else {})
            answer = self.answers.pop(0)
            head_lines = [f"HTTP/1.1 {answer.status} X", f"content-type: {answer.content_type}", *answer.headers]
            head_lines += ["transfer-encoding: chunked", "connection: close", "", ""]
            writer.write("\r\n".join(head_lines).encode())
            for part in answer.parts:
                writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
                await writer.drain()
            match answer.end:
                case End.CLEAN:
                    writer.write(b"0\r\n\r\n")
                    await writer.drain()
                case End.DROP:
                    pass
                case End.HOLD:
                    await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has gone
        finally:
            writer.close()


@asynccontextmanager
async def scripted(*answers: Answer) -> AsyncIterator[ScriptedServer]:
    """Serves on loopback."""
    script = ScriptedServer(list(answers))
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    script.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield script
    finally:
        server.close()
