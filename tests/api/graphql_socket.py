"""A client that speaks graphql-transport-ws message by message, right or wrong."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

PROTOCOL = Subprotocol("graphql-transport-ws")
TIMEOUT_SECONDS = 60


class Socket:
    """One connection."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, message: object) -> None:
        """A message as JSON text; bytes and str go out as they are."""
        raw = message if isinstance(message, str | bytes) else orjson.dumps(message).decode()
        await self.connection.send(raw)

    async def receive(self) -> Any:
        """The next message, which must be text."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            raw = await self.connection.recv()
        assert isinstance(raw, str)
        return orjson.loads(raw)

    async def init(self, payload: object = None) -> None:
        """Greets and waits for the answer."""
        await self.send({"type": "connection_init", "payload": payload})
        assert await self.receive() == {"type": "connection_ack"}

    async def subscribe(self, operation_id: str, query: str, **rest: object) -> None:
        """Starts an operation."""
        await self.send({"id": operation_id, "type": "subscribe", "payload": {"query": query, **rest}})

    async def closed(self) -> tuple[int, str]:
        """Waits for the server to close; tells its code and reason."""
        with pytest.raises(ConnectionClosed) as caught:
            await self.receive()
        assert caught.value.rcvd is not None
        return caught.value.rcvd.code, caught.value.rcvd.reason


@asynccontextmanager
async def socket(address: str, **options: Any) -> AsyncIterator[Socket]:
    """A connection that speaks the protocol."""
    options.setdefault("subprotocols", [PROTOCOL])
    async with connect(f"ws://{address}/graphql", proxy=None, open_timeout=TIMEOUT_SECONDS, **options) as connection:
        yield Socket(connection)
