"""Several instances within this process, on one database: quick to start, and quick to kill."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine
from typing import Any, TypeVar

import asyncpg

from composition import Assistant, assistant
from domain.account import Client, Viewer
from domain.secret import Secret
from ops.config import Config
from ops.encryption_key import EncryptionKey
from tests.api.unlimited import UNLIMITED
from tests.faults.database import connection_to
from tests.standins.notion_state import Workspace

T = TypeVar("T")

CLIENT = Client(ip=None, user_agent=None)
PASSWORD = "correct horse battery staple"
TOKENS_PER_SECOND = 1_000.0
_numbers = itertools.count(1)


class Instance:
    """One of them. `kill` leaves it as a crash would: nothing is finished, and what it held stays held."""

    def __init__(self, config: Config, *, database_url: str, key: EncryptionKey) -> None:
        self._config = config
        self._database_url = database_url
        self._key = key
        self._host: asyncio.Task[None] | None = None
        self._assistant: Assistant | None = None

    @property
    def assistant(self) -> Assistant:
        """What it runs."""
        assert self._assistant is not None
        return self._assistant

    async def start(self) -> None:
        """Returns when it is at work."""
        is_up = asyncio.Event()
        self._host = asyncio.create_task(self._run(is_up))
        await is_up.wait()

    async def _run(self, is_up: asyncio.Event) -> None:
        async with assistant(
            self._config,
            database_url=self._database_url,
            keys=[self._key],
            demo_tokens_per_second=TOKENS_PER_SECOND,
        ) as running:
            self._assistant = running
            is_up.set()
            await asyncio.Event().wait()

    async def kill(self) -> None:
        """In the middle of whatever it does. Its leases are over then, as if much time had passed."""
        assert self._host is not None
        running = self.assistant
        # Nobody else needs to know these.
        owner, publications = running.generator._owner, tuple(running.publisher._lease_ends)
        self._host.cancel()
        await asyncio.wait([self._host])
        async with connection_to(self._database_url) as connection:
            await _expire(connection, owner, publications)


async def _expire(connection: asyncpg.Connection, owner: str, publications: tuple[tuple[Any, int], ...]) -> None:
    past = "now() - interval '1 second'"
    await connection.execute(
        f"UPDATE content_history SET lease_until = {past} WHERE status = 'RUNNING' AND owner = $1", owner
    )
    for publication_id, fence in publications:
        await connection.execute(
            f"UPDATE publications SET lease_until = {past} WHERE status = 'PUBLISHING' AND id = $1 AND fence = $2",
            publication_id,
            fence,
        )


class House:
    """The instances, with one loop for them all: between two calls of `run` they stand still."""

    def __init__(self, runner: asyncio.Runner, *, database_url: str, notion_base_url: str) -> None:
        self._runner = runner
        self.database_url = database_url
        config = Config(
            notion_base_url=notion_base_url, database_pool_size=5, max_running_generations_per_user=50, **UNLIMITED
        )
        key = EncryptionKey.generate()
        self.instances = tuple(Instance(config, database_url=database_url, key=key) for _ in range(2))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs it, and with it everybody who lives here."""
        return self._runner.run(coroutine)

    async def start(self) -> None:
        """All of them."""
        await asyncio.gather(*(each.start() for each in self.instances))

    async def stop(self) -> None:
        """All of them."""
        await asyncio.gather(*(each.kill() for each in self.instances))

    async def new_viewer(self, workspace: Workspace) -> Viewer:
        """Somebody new, with a connection to Notion."""
        services = self.instances[0].assistant.services
        name = f"viewer{next(_numbers)}"
        sign_in = await services.authentication.register(
            email=f"{name}@example.org", username=name, password=PASSWORD, client=CLIENT
        )
        viewer = Viewer(user=sign_in.user, session_id=sign_in.session_id, authenticated_until=sign_in.expires_at)
        await services.notion.connect(viewer, Secret(workspace.token), client=CLIENT)
        return viewer
