"""Operations over WebSocket: graphql-transport-ws, message by message."""

import asyncio
from datetime import timedelta

import orjson
import pytest
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from schema.transport import TransportLimits
from tests.api.graphql_socket import PROTOCOL, socket
from tests.api.serving import serving
from tests.api.small_schema import Happenings, small_endpoint


async def test_operations_of_every_kind(address: str) -> None:
    async with socket(address) as ws:
        assert ws.connection.subprotocol == PROTOCOL
        await ws.init()
        await ws.subscribe("1", "subscription { count(to: 2) }")
        assert [await ws.receive() for _ in range(3)] == [
            {"id": "1", "type": "next", "payload": {"data": {"count": 1}}},
            {"id": "1", "type": "next", "payload": {"data": {"count": 2}}},
            {"id": "1", "type": "complete"},
        ]
        await ws.subscribe("1", "query A($n: String) { hello(name: $n) }", variables={"n": "Ada"}, operationName="A")
        assert await ws.receive() == {"id": "1", "type": "next", "payload": {"data": {"hello": "Hello, Ada!"}}}
        assert await ws.receive() == {"id": "1", "type": "complete"}
        await ws.subscribe("1", "mutation { touch }", variables=None, operationName=None, extensions=None)
        assert (await ws.receive())["payload"] == {"data": {"touch": 1}}


@pytest.mark.parametrize(
    "message",
    [
        b'{"type": "connection_init"}',
        "",
        "{",
        "connection_init",
        "[]",
        "1",
        "null",
        '"ping"',
        "{}",
        '{"type": null}',
        '{"type": 1}',
        '{"type": {}}',
        '{"type": "start"}',
        '{"type": "connection_ack"}',
        '{"type": "next", "id": "1", "payload": {}}',
        '{"type": "connection_init", "payload": []}',
        '{"type": "connection_init", "payload": "token"}',
        '{"type": "ping", "payload": 1}',
        '{"type": "pong", "payload": []}',
        '{"type": "complete"}',
        '{"type": "complete", "id": 1}',
        '{"type": "complete", "id": ""}',
        '{"type": "subscribe"}',
        '{"type": "subscribe", "id": "1"}',
        '{"type": "subscribe", "id": "1", "payload": null}',
        '{"type": "subscribe", "id": "1", "payload": []}',
        '{"type": "subscribe", "id": "1", "payload": {}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": null}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": 1}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "{ hello }", "variables": []}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "{ hello }", "variables": "{}"}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "{ hello }", "operationName": 1}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "{ hello }", "extensions": []}}',
        '{"type": "subscribe", "id": null, "payload": {"query": "{ hello }"}}',
        '{"type": "subscribe", "id": "", "payload": {"query": "{ hello }"}}',
        '{"type": "subscribe", "id": ["1"], "payload": {"query": "{ hello }"}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "{ hello } # \\ud800"}}',
        "[" * 5000,
    ],
)
@pytest.mark.parametrize("is_acknowledged", [False, True])
async def test_malformed_messages(
    address: str, message: str | bytes, is_acknowledged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with socket(address) as ws:
        if is_acknowledged and "connection_init" not in str(message):
            await ws.init()
        await ws.send(message)
        code, reason = await ws.closed()
    assert code == 4400
    assert 0 < len(reason.encode()) <= 123
    assert [record for record in caplog.records if record.exc_info] == []


async def test_subscribe_before_the_connection_is_acknowledged(address: str, happenings: Happenings) -> None:
    async with socket(address) as ws:
        await ws.subscribe("1", "mutation { touch }")
        assert await ws.closed() == (4401, "Unauthorized")
    assert happenings.mutations == 0


async def test_a_second_initialisation(address: str) -> None:
    async with socket(address) as ws:
        await ws.init()
        await ws.send({"type": "connection_init"})
        assert await ws.closed() == (4429, "Too many initialisation requests")


async def test_no_initialisation_in_time(happenings: Happenings) -> None:
    limits = TransportLimits(connection_init_timeout=timedelta(seconds=1))
    async with serving(small_endpoint(happenings, limits=limits)) as address, socket(address) as ws:
        await ws.send({"type": "ping"})
        assert await ws.receive() == {"type": "pong"}
        assert await ws.closed() == (4408, "Connection initialisation timeout")


async def test_an_initialised_connection_stays(happenings: Happenings) -> None:
    limits = TransportLimits(connection_init_timeout=timedelta(seconds=1))
    async with serving(small_endpoint(happenings, limits=limits)) as address, socket(address) as ws:
        await ws.init()
        await asyncio.sleep(1.2)
        await ws.send({"type": "ping", "payload": {"at": 1}})
        assert await ws.receive() == {"type": "pong", "payload": {"at": 1}}
        await ws.send({"type": "pong"})
        await ws.send({"type": "complete", "id": "unknown"})
        await ws.subscribe("1", "{ hello }")
        assert (await ws.receive())["type"] == "next"


async def test_an_id_that_is_in_use(address: str, happenings: Happenings) -> None:
    async with socket(address) as ws:
        await ws.init()
        await ws.subscribe("é" * 100, "subscription { endless }")
        await ws.receive()
        await ws.subscribe("é" * 100, "{ hello }")
        code, reason = await ws.closed()
    assert code == 4409
    assert reason.startswith("Subscriber for é")
    await happenings.until_ended(1)


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        (None, None),
        ({}, None),
        ({"Authorization": ""}, None),
        ({"Authorization": None}, None),
        ({"Authorization": "Bearer good"}, "ada"),
        ({"authorization": "Bearer good"}, "ada"),
        ({"AUTHORIZATION": "Bearer good", "other": [1]}, "ada"),
        ({"headers": {"authorization": "Bearer good"}}, "ada"),
        ({"headers": "nonsense"}, None),
    ],
)
async def test_who_connects(address: str, payload: object, name: str | None) -> None:
    async with socket(address) as ws:
        await ws.init(payload)
        await ws.subscribe("1", "{ me }")
        assert (await ws.receive())["payload"] == {"data": {"me": name}}


@pytest.mark.parametrize(
    ("token", "code", "reason"),
    [
        ("Bearer expired", 4403, "The access token has expired."),
        ("Bearer revoked", 4401, "The session has ended; sign in again."),
        ("Basic good", 4401, "The session has ended; sign in again."),
        (17, 4401, "`Authorization` must read `Bearer <access token>`."),
        ("Bearer down", 1013, "The database cannot be reached."),
        ("Bearer crash", 4500, "Internal server error"),
    ],
)
async def test_who_may_not_connect(address: str, token: object, code: int, reason: str) -> None:
    async with socket(address) as ws:
        await ws.send({"type": "connection_init", "payload": {"Authorization": token}})
        assert await ws.closed() == (code, reason)


async def test_the_connection_ends_with_its_session(address: str, happenings: Happenings) -> None:
    async with socket(address) as ws:
        await ws.init({"Authorization": "Bearer good"})
        await ws.subscribe("1", "subscription { endless }")
        assert (await ws.receive())["type"] == "next"
        happenings.session_ended.set()
        assert await ws.closed() == (4401, "The session has ended")
    await happenings.until_ended(1)


async def test_the_connection_ends_with_its_access_token(address: str, happenings: Happenings) -> None:
    async with socket(address) as ws:
        await ws.init({"Authorization": "Bearer short"})
        await ws.subscribe("1", "subscription { endless }")
        assert (await ws.receive())["type"] == "next"
        assert await ws.closed() == (4403, "The access token has expired")
    await happenings.until_ended(1)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{ nope }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { count hello }", "GRAPHQL_VALIDATION_FAILED"),
        ("query ($n: String!) { hello(name: $n) }", "INVALID_INPUT"),
        ("subscription ($n: Int!) { count(to: $n) }", "INVALID_INPUT"),
        ("query A { hello } query B { hello }", "INVALID_INPUT"),
        ("fragment A on Query { hello }", "OPERATION_RESOLUTION_FAILURE"),
        ("", "BAD_REQUEST"),
    ],
)
async def test_a_bad_operation_fails_alone(address: str, query: str, code: str) -> None:
    async with socket(address) as ws:
        await ws.init()
        await ws.subscribe("other", "subscription { endless }")
        await ws.receive()
        for _ in range(2):
            await ws.subscribe("1", query)
            message = await ws.receive()
            payload = message["payload"]
            errors = payload["errors"] if message["type"] == "next" else payload
            assert message["id"] == "1"
            assert {error["extensions"]["code"] for error in errors} == {code}
            if message["type"] == "next":
                assert await ws.receive() == {"id": "1", "type": "complete"}
        await ws.subscribe("1", "{ hello }")
        assert (await ws.receive())["payload"] == {"data": {"hello": "Hello, world!"}}


async def test_unknown_operation_name_and_nul_fail_alone(address: str) -> None:
    async with socket(address) as ws:
        await ws.init()
        await ws.subscribe("1", "query A { hello }", operationName="B")
        message = await ws.receive()
        assert (message["type"], message["payload"][0]["message"]) == ("error", 'Unknown operation named "B".')
        await ws.subscribe("1", "{ hello }", variables={"a": ["b", "\x00"]})
        message = await ws.receive()
        assert message["type"] == "error"
        assert message["payload"][0]["extensions"] == {"code": "INVALID_INPUT", "field": ["a", "1"]}
        await ws.subscribe("1", "{ hello }")
        assert (await ws.receive())["type"] == "next"


async def test_failures_while_a_subscription_runs(address: str) -> None:
    async with socket(address) as ws:
        await ws.init()
        await ws.subscribe("1", "subscription { crashing }")
        assert (await ws.receive())["payload"] == {"data": {"crashing": 1}}
        message = await ws.receive()
        assert message["payload"]["errors"][0]["extensions"]["code"] == "INTERNAL"
        assert b"tiger" not in orjson.dumps(message)
        assert await ws.receive() == {"id": "1", "type": "complete"}
        await ws.subscribe("1", "subscription { refused }")
        message = await ws.receive()
        assert message["payload"]["errors"][0]["extensions"] == {"code": "INVALID_INPUT", "field": ["after"]}
        assert await ws.receive() == {"id": "1", "type": "complete"}


async def test_operations_run_at_the_same_time_up_to_a_limit(happenings: Happenings) -> None:
    limits = TransportLimits(max_operations_per_socket=3)
    async with serving(small_endpoint(happenings, limits=limits)) as address, socket(address) as ws:
        await ws.init()
        for number in range(3):
            await ws.subscribe(str(number), "subscription { endless }")
            assert (await ws.receive())["id"] == str(number)
        assert happenings.running == 3
        await ws.subscribe("3", "subscription { endless }")
        message = await ws.receive()
        assert (message["id"], message["type"]) == ("3", "error")
        assert message["payload"][0]["extensions"]["code"] == "RATE_LIMITED"
        await ws.send({"id": "0", "type": "complete"})
        await happenings.until_ended(1)
        await ws.subscribe("3", "subscription { endless }")
        assert (await ws.receive())["type"] == "next"


async def test_complete_stops_the_operation_and_frees_its_id(address: str, happenings: Happenings) -> None:
    async with socket(address) as ws:
        await ws.init()
        for round_number in range(1, 4):
            await ws.subscribe("1", "subscription { endless }")
            assert (await ws.receive())["payload"] == {"data": {"endless": 1}}
            await ws.send({"id": "1", "type": "complete"})
            await happenings.until_ended(round_number)
        assert happenings.running == 0


async def test_leaving_stops_everything(address: str, happenings: Happenings) -> None:
    async with socket(address) as ws:
        await ws.init()
        for number in range(5):
            await ws.subscribe(str(number), "subscription { endless }")
            await ws.receive()
    await happenings.until_ended(5)
    async with socket(address) as ws:
        await ws.init()
        await ws.subscribe("1", "subscription { endless }")
        await ws.receive()
        ws.connection.transport.abort()
    await happenings.until_ended(6)
    assert happenings.running == 0


@pytest.mark.parametrize("subprotocols", [None, [Subprotocol("graphql-ws")], [Subprotocol("other")]])
async def test_other_protocols(address: str, subprotocols: list[Subprotocol] | None) -> None:
    async with socket(address, subprotocols=subprotocols) as ws:
        assert await ws.closed() == (4406, "The subprotocol must be graphql-transport-ws")


async def test_a_message_that_is_too_big(happenings: Happenings) -> None:
    limits = TransportLimits(max_request_bytes=1000)
    async with serving(small_endpoint(happenings, limits=limits)) as address, socket(address) as ws:
        await ws.init()
        await ws.send({"type": "ping", "payload": {"x": "x" * 1000}})
        assert (await ws.closed())[0] == 1009


async def test_pages_of_other_origins(happenings: Happenings) -> None:
    allowed = frozenset({"https://app.example.org"})
    async with serving(small_endpoint(happenings, allowed_origins=allowed)) as address:
        for origin in (f"http://{address}", "https://app.example.org", "https://app.example.org:443"):
            async with socket(address, origin=origin) as ws:
                await ws.init()
        for origin in ("https://evil.example.org", "null", "http://app.example.org"):
            with pytest.raises(InvalidStatus) as caught:
                async with socket(address, origin=origin):
                    pass
            assert caught.value.response.status_code == 403
