"""Operations over Server-Sent Events, in graphql-sse's distinct connections mode."""

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from strawberry.types import ExecutionResult

import schema.sse
from domain.errors import Unauthenticated
from schema.sse import EventStream
from tests.api.serving import serving
from tests.api.small_schema import Happenings
from tests.waiting import until

STREAM = {"accept": "text/event-stream"}


async def events_of(response: httpx.Response) -> AsyncIterator[tuple[str, Any]]:
    """The stream's events as name and decoded data; comments as ("", None)."""
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert "no-transform" in response.headers["cache-control"]
    name, data = "", ""
    async for line in response.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data:"):
            data = line.removeprefix("data:").strip()
        elif line.startswith(":"):
            yield "", None
        elif name:
            yield name, orjson.loads(data) if data else None
            name = data = ""


async def all_events(http: httpx.AsyncClient, query: str, **headers: str) -> list[tuple[str, Any]]:
    """The events of an operation that ends, comments left out."""
    async with http.stream("POST", "/graphql", json={"query": query}, headers=STREAM | headers) as response:
        return [event async for event in events_of(response) if event[0]]


async def test_a_subscription(http: httpx.AsyncClient) -> None:
    assert await all_events(http, "subscription { count }") == [
        ("next", {"data": {"count": 1}}),
        ("next", {"data": {"count": 2}}),
        ("next", {"data": {"count": 3}}),
        ("complete", None),
    ]


async def test_queries_and_mutations_are_one_event(http: httpx.AsyncClient) -> None:
    assert await all_events(http, "{ hello }") == [("next", {"data": {"hello": "Hello, world!"}}), ("complete", None)]
    assert await all_events(http, "mutation { touch }") == [("next", {"data": {"touch": 1}}), ("complete", None)]
    assert await all_events(http, "{ me }", authorization="Bearer good") == [
        ("next", {"data": {"me": "ada"}}),
        ("complete", None),
    ]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("subscription { nope }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { count hello }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription ($n: Int!) { count(to: $n) }", "INVALID_INPUT"),
        ("subscription A { count } subscription B { count }", "INVALID_INPUT"),
        ("subscription { refused }", "INVALID_INPUT"),
        ("", "BAD_REQUEST"),
    ],
)
async def test_refused_operations_are_told_in_the_stream(http: httpx.AsyncClient, query: str, code: str) -> None:
    (name, body), end = await all_events(http, query)
    assert name == "next"
    assert {error["extensions"]["code"] for error in body["errors"]} == {code}
    assert end == ("complete", None)


async def test_a_crash_in_the_stream_is_masked(http: httpx.AsyncClient) -> None:
    first, (name, body), end = await all_events(http, "subscription { crashing }")
    assert first == ("next", {"data": {"crashing": 1}})
    assert (name, body["errors"][0]["extensions"]["code"]) == ("next", "INTERNAL")
    assert b"tiger" not in orjson.dumps(body)
    assert end == ("complete", None)


async def test_a_client_that_takes_both_gets_what_fits_the_operation(http: httpx.AsyncClient) -> None:
    both = {"accept": "application/json, text/event-stream"}
    response = await http.post("/graphql", json={"query": "{ hello }"}, headers=both)
    assert response.json() == {"data": {"hello": "Hello, world!"}}
    async with http.stream(
        "POST", "/graphql", json={"query": "subscription { count(to: 1) }"}, headers=both
    ) as response:
        assert [name async for name, _ in events_of(response) if name] == ["next", "complete"]


async def test_get_streams_but_does_not_mutate(http: httpx.AsyncClient, happenings: Happenings) -> None:
    headers = STREAM | {"apollo-require-preflight": "true"}
    params = {"query": "subscription { count(to: 1) }"}
    async with http.stream("GET", "/graphql", params=params, headers=headers) as response:
        assert [name async for name, _ in events_of(response) if name] == ["next", "complete"]
    async with http.stream("GET", "/graphql", params={"query": "mutation { touch }"}, headers=headers) as response:
        events = [event async for event in events_of(response) if event[0]]
    assert "errors" in events[0][1]
    assert happenings.mutations == 0


async def test_requests_that_are_no_operation_are_refused_as_usual(http: httpx.AsyncClient) -> None:
    response = await http.post("/graphql", content=b"{", headers=STREAM | {"content-type": "application/json"})
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/json; charset=utf-8"


async def test_closing_the_connection_stops_the_operation(http: httpx.AsyncClient, happenings: Happenings) -> None:
    async with http.stream("POST", "/graphql", json={"query": "subscription { endless }"}, headers=STREAM) as response:
        events = events_of(response)
        while (await anext(events))[0] != "next":
            pass
        assert happenings.running == 1
    await happenings.until_ended(1)
    assert happenings.running == 0


async def test_a_silent_stream_is_kept_alive(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema.sse, "KEEP_ALIVE_SECONDS", 0.05)
    async with http.stream("POST", "/graphql", json={"query": "subscription { endless }"}, headers=STREAM) as response:
        events = events_of(response)
        names = [(await anext(events))[0]]
        while names[-1] != "next":
            names.append((await anext(events))[0])
        assert set(names) == {"", "next"}
        assert [(await anext(events))[0] for _ in range(2)] == ["", ""]


@pytest.mark.parametrize(("token", "is_expired"), [("Bearer good", False), ("Bearer short", True)])
async def test_a_stream_ends_with_the_session_or_the_access_token(
    http: httpx.AsyncClient, happenings: Happenings, token: str, *, is_expired: bool
) -> None:
    headers = STREAM | {"authorization": token}
    query = {"query": "subscription { endless }"}
    async with http.stream("POST", "/graphql", json=query, headers=headers) as response:
        events = events_of(response)
        while (await anext(events))[0] != "next":
            pass
        if not is_expired:
            happenings.session_ended.set()
        rest = [event async for event in events if event[0]]
    (name, body), end = rest[-2:]
    assert (name, end) == ("next", ("complete", None))
    assert body["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED", "expired": is_expired}
    await happenings.until_ended(1)


async def test_a_stream_that_the_server_leaves_ends_without_being_complete(
    http: httpx.AsyncClient, happenings: Happenings
) -> None:
    query = {"query": "subscription { endless }"}
    async with http.stream("POST", "/graphql", json=query, headers=STREAM) as response:
        events = events_of(response)
        while (await anext(events))[0] != "next":
            pass
        happenings.leaving.set()
        assert [event async for event in events if event[0]] == []
    await happenings.until_ended(1)


async def test_what_will_end_is_waited_for_when_the_server_leaves(
    http: httpx.AsyncClient, happenings: Happenings
) -> None:
    happenings.leaving.set()
    assert await all_events(http, "mutation { touch }") == [("next", {"data": {"touch": 1}}), ("complete", None)]


async def test_the_end_of_a_session_is_the_last_word_to_a_slow_reader(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(schema.sse, "KEEP_ALIVE_SECONDS", 0.05)
    pieces, ended, told = 0, asyncio.Event(), asyncio.Event()

    async def results() -> AsyncGenerator[ExecutionResult, None]:
        nonlocal pieces
        while True:
            pieces += 1
            yield ExecutionResult(data={"piece": "x" * 400_000}, errors=None)
            await asyncio.sleep(0)

    async def session_end() -> Unauthenticated:
        await ended.wait()
        told.set()
        return Unauthenticated("The session has ended")

    stream = EventStream(results(), session_end=session_end, departure=asyncio.Event().wait)
    async with serving(stream) as address:
        host, _, port = address.partition(":")
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
        reader, writer = await asyncio.open_connection(sock=connection, limit=1_000)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        before = 0

        def is_full() -> bool:
            nonlocal before
            before, is_so = pieces, 0 < pieces == before
            return is_so

        await until(is_full)
        ended.set()
        await told.wait()
        await asyncio.sleep(0.2)  # a comment is due as well
        received = b""
        async with asyncio.timeout(60):
            while piece := await reader.read(1 << 16):
                received = received[-1_000:] + piece
        writer.close()
    assert received.endswith(b"event: complete\ndata:\n\n\r\n0\r\n\r\n")
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
