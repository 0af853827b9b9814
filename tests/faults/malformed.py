"""Everything that is wrong with a frame, or with a message in one, drawn at random."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from tests.faults.raw_socket import BINARY, CLOSE, PING, PONG, TEXT, frame

_QUERY = "subscription ($id: ID!) { generationEvents(id: $id) { __typename } }"
# What stands in the place of something else.
_VALUES: Sequence[Any] = (
    *(None, True, 0, -1, 1.5, 10**18, "", "x", "\u0000", "🚀" * 50),
    *([], [[]], {}, {"": None}, ["1"], {"a": {"b": {"c": [1, {}]}}}),
)
_TYPES = ("connection_init", "subscribe", "complete", "ping", "pong", "next", "error", "connection_ack", "start", "")
_DOCUMENTS = (
    *("", "{", "}", "{ }", "query", "{ nothing }", "subscription { nothing }", "{ viewer { id } } { viewer { id } }"),
    *(
        "subscription { generationEvents }",
        "{ ...A } fragment A on Query { ...A }",
        "{ viewer @skip { id } }",
        "\ufeff",
    ),
    *(
        "\ufeff",
        '{ node(id: "\\ud800") { id } }',
        "{ a: viewer" * 40,
        "{" * 3_000,
        "#" * 10_000,
        "{ viewer(" + "[" * 2_000,
    ),
)


def malformed(rng: random.Random) -> bytes:
    """Bytes after the handshake that a correct client never sends."""
    kinds: Sequence[Callable[[random.Random], bytes]] = (_message, _operation, _text, _mutation, _frame)
    return rng.choice(kinds)(rng)


def _message(rng: random.Random) -> bytes:
    """JSON, but not of the protocol's shape."""
    if rng.random() < 0.2:
        return frame(TEXT, orjson.dumps(rng.choice(_VALUES)))
    wrong: dict[str, Any] = {}
    for name in ("type", "id", "payload", "query"):
        if rng.random() < 0.6:
            wrong[name] = rng.choice(_TYPES) if name == "type" and rng.random() < 0.8 else rng.choice(_VALUES)
    return frame(TEXT, orjson.dumps(wrong))


def _operation(rng: random.Random) -> bytes:
    """A subscribe whose payload is wrong."""
    payload: dict[str, Any] = {"query": rng.choice(_DOCUMENTS)}
    if rng.random() < 0.5:
        payload["query"] = _QUERY
        payload["variables"] = {"id": rng.choice(_VALUES)}
    if rng.random() < 0.3:
        payload[rng.choice(("query", "variables", "operationName", "extensions"))] = rng.choice(_VALUES)
    operation_id = rng.choice(("1", "2", "x" * 200))
    return frame(TEXT, orjson.dumps({"id": operation_id, "type": "subscribe", "payload": payload}))


def _text(rng: random.Random) -> bytes:
    """No JSON, or no text at all."""
    return rng.choice(
        (
            frame(TEXT, b""),
            frame(TEXT, b"{"),
            frame(TEXT, b"ping"),
            frame(TEXT, b"[" * rng.randint(1, 20_000)),
            frame(TEXT, b'{"type":"ping","payload":{"a":1e999}}'),
            frame(TEXT, b'{"type":"ping","payload":{"a":"\\ud800"}}'),
            frame(TEXT, b'{"type":"ping","type":"pong","payload":NaN}'),
            frame(TEXT, b'{"type":"ping"}' + b" " * rng.randint(1, 70_000)),
            frame(TEXT, rng.randbytes(rng.randint(1, 300))),
            frame(BINARY, b'{"type":"ping"}'),
            frame(BINARY, rng.randbytes(rng.randint(0, 300))),
            frame(TEXT, b'{"type":"\xed\xa0\x80"}'),
        )
    )


def _mutation(rng: random.Random) -> bytes:
    """A right message with a few bytes changed, lost or doubled."""
    text = bytearray(
        orjson.dumps({"id": "1", "type": "subscribe", "payload": {"query": _QUERY, "variables": {"id": "R2"}}})
    )
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(text))
        match rng.randrange(3):
            case 0:
                text[place] = rng.randrange(256)
            case 1:
                del text[place]
            case _:
                text[place:place] = text[place : place + rng.randint(1, 9)]
    return frame(TEXT, bytes(text))


def _frame(rng: random.Random) -> bytes:
    """What RFC 6455 forbids of a frame."""
    ping = b'{"type":"ping"}'
    return rng.choice(
        (
            frame(TEXT, ping, is_masked=False),
            frame(TEXT, ping, reserved=rng.randint(1, 7)),
            frame(rng.choice((3, 4, 5, 6, 7, 11, 12, 13, 14, 15)), ping),
            frame(rng.choice((PING, PONG, CLOSE)), b"", is_final=False),
            frame(rng.choice((PING, PONG, CLOSE)), b"x" * rng.randint(126, 400)),
            frame(0, ping),
            frame(TEXT, b"{", is_final=False) + frame(TEXT, b"}"),
            frame(TEXT, b"\xff", is_final=False) + frame(0, b"\xff"),
            frame(CLOSE, b"x"),
            frame(CLOSE, rng.choice((0, 999, 1004, 1005, 1006, 1015, 2999, 65535)).to_bytes(2, "big")),
            frame(CLOSE, b"\x03\xe8\xff\xfe"),
            bytes((0x81, 0xFF)) + b"\xff" * 8 + bytes(4),
            bytes((0x81, 0xFF)) + (1 << 40).to_bytes(8, "big") + bytes(4),
            frame(TEXT, ping * rng.randint(5_000, 20_000)),
        )
    )
