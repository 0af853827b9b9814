"""The whole product, served on loopback on a real database, and people who use it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from composition import Assistant, assistant
from ops.config import Config
from ops.encryption_key import EncryptionKey
from tests.api.graphql_socket import Socket, socket
from tests.api.serving import serving
from tests.api.unlimited import UNLIMITED

PASSWORD = "correct horse battery staple"
_TOKENS_PER_SECOND = 2_000.0  # the demo writes as fast as a test can read

REGISTER = """
mutation ($input: RegisterInput!) {
  register(input: $input) {
    accessToken refreshToken expiresAt user { id }
    errors { message code field }
  }
}
"""
LOGIN = """
mutation ($input: LoginInput!) {
  login(input: $input) { accessToken refreshToken expiresAt user { id } errors { message code field } }
}
"""


class Person:
    """Somebody with a client; signed in once they have credentials."""

    def __init__(self, http: httpx.AsyncClient, address: str) -> None:
        self.http = http
        self.address = address
        self.credentials: dict[str, Any] = {}
        self.headers: dict[str, str] = {}

    async def request(self, query: str, **variables: object) -> httpx.Response:
        """An operation by POST."""
        body = {"query": query, "variables": variables}
        return await self.http.post("/graphql", json=body, headers=self.headers)

    async def ask(self, query: str, **variables: object) -> Any:
        """The data of an operation that must succeed."""
        body = (await self.request(query, **variables)).json()
        assert "errors" not in body, body["errors"]
        return body["data"]

    async def do(self, mutation: str, **variables: object) -> Any:
        """The payload of a mutation of one field that must succeed."""
        (payload,) = (await self.ask(mutation, **variables)).values()
        assert payload["errors"] == []
        return payload

    async def fail(self, mutation: str, **variables: object) -> tuple[str, list[str] | None]:
        """Code and field of the only error in the payload of a mutation that must fail."""
        (payload,) = (await self.ask(mutation, **variables)).values()
        (error,) = payload.pop("errors")
        assert all(value in (None, []) for value in payload.values())
        assert error["message"]
        return error["code"], error["field"]

    async def refused(self, query: str, **variables: object) -> dict[str, Any]:
        """The extensions of the only error of a query that must fail."""
        body = (await self.request(query, **variables)).json()
        (error,) = body["errors"]
        assert error["message"]
        return dict(error["extensions"])

    def sign_in(self, credentials: dict[str, Any]) -> None:
        """Uses these credentials from now on."""
        self.credentials = credentials
        self.headers = {"authorization": f"Bearer {credentials['accessToken']}"}

    async def register(self, name: str) -> None:
        """Makes an account and signs in."""
        account = {"email": f"{name}@example.org", "username": name, "password": PASSWORD}
        self.sign_in(await self.do(REGISTER, input=account))

    async def log_in(self, name: str) -> None:
        """Signs in to an account that was made before."""
        self.headers = {}
        self.sign_in(await self.do(LOGIN, input={"login": name, "password": PASSWORD}))

    @asynccontextmanager
    async def socket(self) -> AsyncIterator[Socket]:
        """A WebSocket on which they are signed in."""
        async with socket(self.address) as ws:
            await ws.init(dict(self.headers))
            yield ws

    async def events(self, query: str, **variables: object) -> list[dict[str, Any]]:
        """The results of an operation over Server-Sent Events, to its end."""
        headers = {**self.headers, "accept": "text/event-stream"}
        body = {"query": query, "variables": variables}
        async with self.http.stream("POST", "/graphql", json=body, headers=headers) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            lines = [line async for line in response.aiter_lines()]
        assert lines[-3:] == ["event: complete", "data:", ""]
        return [orjson.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """The running product; clients live as long as it does."""

    address: str
    assistant: Assistant
    stack: AsyncExitStack

    async def visitor(self) -> Person:
        """Somebody who is not signed in."""
        client = httpx.AsyncClient(base_url=f"http://{self.address}", timeout=120)
        return Person(await self.stack.enter_async_context(client), self.address)

    async def person(self, name: str = "ada") -> Person:
        """Somebody with a new account."""
        person = await self.visitor()
        await person.register(name)
        return person

    async def administrator(self, name: str = "root") -> Person:
        """Somebody who administers."""
        await self.assistant.services.authentication.create_administrator(
            email=f"{name}@example.org", username=name, password=PASSWORD
        )
        person = await self.visitor()
        await person.log_in(name)
        return person


@asynccontextmanager
async def product(
    database_url: str, *, config: Config | None = None, tokens_per_second: float = _TOKENS_PER_SECOND
) -> AsyncIterator[Product]:
    """Runs it. Not a fixture: pytest would leave the task groups in another task than it has entered them in."""
    async with (
        assistant(
            config or Config(**UNLIMITED),
            database_url=database_url,
            keys=[EncryptionKey.generate()],
            demo_tokens_per_second=tokens_per_second,
        ) as running,
        serving(running.app) as address,
        AsyncExitStack() as stack,
    ):
        yield Product(address=address, assistant=running, stack=stack)
