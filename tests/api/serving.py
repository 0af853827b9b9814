"""Serves an ASGI application on a free port of loopback, in the test's own event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[str]:
    """Yields the address, such as 127.0.0.1:41234. In the end connections are cut, and what serves them must finish."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    host, port = listener.getsockname()
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=2**22,
        lifespan="off",
        log_config=None,
        access_log=False,
    )
    config.load()
    server = uvicorn.Server(config)
    # Server.serve() would take over the signals and needs up to 0.3 s to stop: these are the parts that are wanted.
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    try:
        yield f"{host}:{port}"
    finally:
        for asyncio_server in server.servers:
            asyncio_server.close()
        for connection in list(server.server_state.connections):
            if (transport := connection.transport) is not None:
                transport.abort()
        async with asyncio.timeout(60):
            await asyncio.gather(*server.server_state.tasks)
