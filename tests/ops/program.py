"""A small server made of the parts of ops/ as the real one is, for tests that need a process.

It prints a line of JSON for each step, so that a test knows how far it is. WAY says how it behaves.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

import asyncpg
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from ops import lifecycle as lifecycle_module
from ops.config import Config, ConfigError, load_config
from ops.embedded_postgres import embedded_postgres
from ops.errors import StartupError
from ops.health import Health, health_routes
from ops.lifecycle import Lifecycle, run, serve
from ops.listening import listen, port_of
from ops.logging import configure_logging
from ops.metrics import Metrics, metrics_route
from ops.requests import RequestObserver
from ops.secrets_file import encryption_keys


def say(step: str, **facts: object) -> None:
    """Tells the test."""
    print(json.dumps({"step": step, **facts}), flush=True)


class Ticks:
    """How many were sent on all sockets."""

    sent = 0


async def ticking(websocket: WebSocket) -> None:
    """Sends the time of day, so to speak, until the peer has gone."""
    await websocket.accept()
    try:
        while True:
            await websocket.send_text("tick")
            Ticks.sent += 1
            await asyncio.sleep(0.02)
    except WebSocketDisconnect:
        say("websocket_gone")


async def flooding(websocket: WebSocket) -> None:
    """Sends more than any buffer holds."""
    await websocket.accept()
    try:
        while True:
            sending = asyncio.create_task(websocket.send_text("x" * 60_000))
            if not (await asyncio.wait({sending}, timeout=1))[0]:
                say("nobody_reads")
            await sending
    except WebSocketDisconnect:
        say("websocket_gone")


async def main(config: Config, lifecycle: Lifecycle) -> None:
    """Starts everything, serves and stops everything."""
    way = os.environ.get("WAY", "")
    with_sockets = listen(config.host, config.port)
    say("listening", port=port_of(with_sockets))
    if way == "hang in the start-up":
        await asyncio.sleep(250)
    async with embedded_postgres(config.data_dir, is_durable=False) as postgres:
        keys = encryption_keys(config.encryption_keys, data_dir=config.data_dir, is_embedded=True)
        connection = await asyncpg.connect(postgres.url.replace("+asyncpg", ""))

        async def drain() -> None:
            say("draining")
            if way == "hang in the draining":
                await asyncio.sleep(250)
            if way == "tick in the draining":
                enough = Ticks.sent + 10
                while Ticks.sent < enough:  # noqa: ASYNC110  (they are counted elsewhere)
                    await asyncio.sleep(0.02)
            if way == "fail in the draining":
                raise ValueError(os.environ["PROMPT"])
            await asyncio.sleep(0.5)
            # What is still running has to be able to save what it has.
            await connection.execute("INSERT INTO kept VALUES ('drained')")

        async def check_database() -> None:
            await connection.execute("SELECT 1")

        await connection.execute("CREATE TABLE IF NOT EXISTS kept (what text)")
        count = await connection.fetchval("SELECT count(*) FROM kept")
        metrics = Metrics()
        health = Health({"database": check_database}, is_draining=lambda: lifecycle.is_draining)
        routes = [WebSocketRoute("/ticking", ticking), WebSocketRoute("/flooding", flooding)]
        app = Starlette(routes=[*health_routes(health), metrics_route(metrics), *routes])
        await serve(
            RequestObserver(app, metrics=metrics),
            lifecycle=lifecycle,
            sockets=with_sockets,
            on_serving=lambda: say("serving", kept=count, key=keys[0].id),
            on_drain=drain,
            drain_timeout_seconds=config.drain_timeout_seconds,
            websocket_ping_seconds=0.5 if way == "ping often" else 60,
        )
        await connection.close()
    say("ended")


if __name__ == "__main__":
    if os.environ.get("WAY") == "patient with signals":
        # The test's second signal may be late.
        vars(lifecycle_module)["_SAME_SIGNAL_SECONDS"] = 1_000
    try:
        configuration = load_config(env_file=None)
        configure_logging(level=configuration.log_level)
        sys.exit(run(lambda lifecycle: main(configuration, lifecycle)))
    except (ConfigError, StartupError) as error:
        sys.exit(str(error))
