"""People with clients that never give up: they ask again until they are answered, and follow answers across faults."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidMessage, WebSocketException
from websockets.typing import Subprotocol

from tests.faults.rig import Cluster, Instance
from tests.faults.writer import MODEL, Order

PASSWORD = "correct horse battery staple"
PROTOCOL = Subprotocol("graphql-transport-ws")
_PATIENCE_SECONDS = 240.0
_PAUSE_SECONDS = 0.1
_PASSING = ("UNAVAILABLE", "RATE_LIMITED", "NOTION_FAILED")
_SILENCE_SECONDS = 120.0
_numbers = itertools.count(1)

REGISTER = """
mutation Register($input: RegisterInput!) {
  register(input: $input) { accessToken errors { message code field } }
}
"""
CONNECT = """
mutation Connect($input: ConnectNotionInput!) {
  connectNotion(input: $input) { notion { workspaceName } errors { message code field } }
}
"""
GENERATE = """
mutation Generate($input: GenerateContentInput!) {
  generateContent(input: $input) { generation { id status } errors { message code field retryAfterSeconds } }
}
"""
CANCEL = """
mutation Cancel($input: IdInput!) {
  cancelGeneration(input: $input) { generation { id status } errors { message code field } }
}
"""
PUBLISH = """
mutation Publish($input: PublishInput!) {
  publishToNotion(input: $input) { publication { id status } errors { message code field } }
}
"""
STORED = """
query Stored($id: ID!) { generation(id: $id) { id status content publication { status error { message } } } }
"""
EDIT = """
mutation Edit($input: EditNotionPageInput!) {
  editNotionPage(input: $input) { page { id } errors { message code field } }
}
"""
PAGE = """
query Page($id: ID!) { generation(id: $id) { id publication { status page { id } } } }
"""
WATCH = """
subscription Watch($id: ID!, $after: String) {
  generationEvents(id: $id, after: $after) {
    __typename
    ... on Positioned { cursor }
    ... on GenerationText { text }
    ... on PublicationChanged { publication { status } }
    ... on GenerationFinished { generation { status content } }
  }
}
"""

Json = dict[str, Any]  # parsed


class Refused(Exception):
    """The server has answered, and the answer is an error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


@dataclass(slots=True)
class Person:
    """Somebody with an account, and any number of clients."""

    name: str
    cluster: Cluster
    rng: random.Random
    token: str = ""

    async def ask(self, query: str, *, at: Instance | None = None, **variables: object) -> Any:
        """The answer of one instance to one operation of one field. Raises Refused, or what httpx raises."""
        instance = at or self.cluster.any(self.rng)
        if instance is None:
            raise httpx.ConnectError("nobody serves")
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        body = {"query": query, "variables": variables}
        response = await self.cluster.http.post(f"http://{instance.address}/graphql", json=body, headers=headers)
        answer = response.json()
        for error in answer.get("errors", ()):
            raise Refused(error["extensions"]["code"], error["message"])
        (payload,) = answer["data"].values()
        for error in (payload or {}).get("errors", ()):
            raise Refused(error["code"], error["message"])
        return payload

    async def insist(self, query: str, **variables: object) -> Any:
        """The answer of whichever instance can give one, as soon as there is one. Raises Refused for what is final."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _PATIENCE_SECONDS
        while True:
            try:
                return await self.ask(query, at=None, **variables)
            except (httpx.HTTPError, ValueError, Refused) as error:
                if isinstance(error, Refused) and error.code not in _PASSING:
                    raise
                if loop.time() > deadline:
                    raise TimeoutError("no good answer for a long time") from error
            await asyncio.sleep(self.rng.uniform(0.5, 1.5) * _PAUSE_SECONDS)

    async def register(self) -> None:
        """Makes an account."""
        account = {"email": f"{self.name}@example.org", "username": self.name, "password": PASSWORD}
        self.token = (await self.ask(REGISTER, input=account))["accessToken"]

    async def connect_notion(self, token: str) -> None:
        """Connects the account with a workspace."""
        await self.insist(CONNECT, input={"token": token})


async def people(cluster: Cluster, count: int, rng: random.Random) -> list[Person]:
    """New accounts."""
    made = [Person(f"person{next(_numbers)}", cluster, rng) for _ in range(count)]
    for person in made:
        await person.register()
    return made


@dataclass(slots=True, kw_only=True)
class Asked:
    """A generation that somebody has asked for, and everything that must be true of it in the end."""

    person: Person
    order: Order
    title: str | None = None
    parent_id: str | None = None
    is_appended: bool = False
    # What its page is to say in place of the answer.
    edited: str | None = None
    is_cancelled: bool = False
    # What makes the prompt longer.
    padding: str = ""
    id: str = ""

    @property
    def key(self) -> str:
        """Its idempotency key."""
        return self.order.key

    @property
    def place(self) -> tuple[str, str]:
        """Whose it is, and its key: there can be one such generation only."""
        return self.person.name, self.key

    async def start(self, *, at: Instance | None = None) -> None:
        """Asks for it, however often it takes: the key makes it one generation."""
        prompt = f"{self.order.prompt} {self.padding}"
        request: Json = {"prompt": prompt, "provider": "openai", "model": MODEL, "idempotencyKey": self.key}
        if self.parent_id is not None:
            mode = "APPEND" if self.is_appended else "CREATE"
            request["publish"] = {"parent": self.parent_id, "title": self.title, "mode": mode}
        if at is None:
            payload = await self.person.insist(GENERATE, input=request)
        else:
            payload = await self.person.ask(GENERATE, at=at, input=request)
        self.id = payload["generation"]["id"]


async def bring_up_to_date(asked: Asked, text: str) -> None:
    """Edits a published page and has Notion told; returns when that is settled."""
    person = asked.person
    publication = (await person.insist(PAGE, id=asked.id))["publication"]
    if publication["status"] != "PUBLISHED":
        return
    asked.edited = text
    edit = {"id": publication["page"]["id"], "baseVersion": 1, "content": text}
    try:
        await person.insist(EDIT, input=edit)
    except Refused as refused:
        # It was done already, by a request whose answer was lost.
        if refused.code != "CONFLICT":
            raise
    await person.insist(PUBLISH, input={"generationId": asked.id, "publish": {"mode": "UPDATE"}})
    while True:
        if (await person.insist(PAGE, id=asked.id))["publication"]["status"] not in ("PENDING", "PUBLISHING"):
            return
        await asyncio.sleep(person.rng.uniform(0.2, 0.5))


class Gone(Exception):
    """The connection is over; the code is 1006 when the server has not said goodbye."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


@dataclass(slots=True, kw_only=True)
class Tab:
    """A browser's tab that follows one generation and, as graphql-ws does, connects again with its last cursor.

    Every piece of text is compared, where it claims to belong, with what the writer has written: a gap, a piece that
    comes twice, or one of another answer is seen at once.
    """

    asked: Asked
    # Where it connects: any instance that serves, unless it is told.
    choose: Callable[[], Instance | None] | None = None
    # Called after every event; whoever wants the tab to lose its connection raises Gone there.
    on_event: Callable[[Json], None] | None = None
    pause_seconds: float = _PAUSE_SECONDS
    text: str = ""
    cursor: str | None = None
    connections: int = 0
    is_connected: bool = False
    restarts: int = 0
    close_codes: list[int] = field(default_factory=list)
    finished: Json | None = None
    publication: str | None = None
    # Cursors with the length of the text before them, of the present epoch: any of them is good to go on from.
    positions: list[tuple[str | None, int]] = field(default_factory=lambda: [(None, 0)])

    async def follow(self) -> None:
        """Returns when everything has been seen: the end, and the end of the publication if there is one."""
        while True:
            try:
                if await self._connect():
                    return
            except Gone as gone:
                self.close_codes.append(gone.code)
            except (OSError, InvalidMessage):
                pass  # Nobody is there, or they left before they had read who comes.
            except WebSocketException:
                self.close_codes.append(1006)
            finally:
                self.is_connected = False
            await asyncio.sleep(self.asked.person.rng.uniform(0.5, 1.5) * self.pause_seconds)

    def go_back(self, place: int) -> None:
        """Forgets all that came after one of the known positions."""
        del self.positions[place + 1 :]
        self.cursor, length = self.positions[place]
        self.text = self.text[:length]

    async def _connect(self) -> bool:
        """One connection, for as long as it lasts; whether nothing is left to be seen."""
        person = self.asked.person
        instance = self.choose() if self.choose is not None else person.cluster.any(person.rng)
        if instance is None:
            return False
        async with open_socket(instance) as socket:
            self.connections += 1
            self.is_connected = True
            await send(socket, {"type": "connection_init", "payload": {"authorization": f"Bearer {person.token}"}})
            assert await receive(socket) == {"type": "connection_ack"}
            variables = {"id": self.asked.id, "after": self.cursor}
            await send(socket, {"id": "1", "type": "subscribe", "payload": {"query": WATCH, "variables": variables}})
            while True:
                message = await receive(socket)
                match message["type"]:
                    case "next":
                        _check_errors(message["payload"].get("errors", ()))
                        self._take(message["payload"]["data"]["generationEvents"])
                    case "complete":
                        return self.finished is not None
                    case "error":
                        _check_errors(message["payload"])
                    case other:
                        raise AssertionError(f"a message of type {other}")

    def _take(self, event: Json) -> None:
        match event["__typename"]:
            case "GenerationText":
                expected = self.asked.order.text[len(self.text) : len(self.text) + len(event["text"])]
                assert event["text"] == expected, f"at {len(self.text)} came {event['text']!r}, not {expected!r}"
                self.text += event["text"]
                self.positions.append((event["cursor"], len(self.text)))
            case "GenerationRestarted":
                self.restarts += 1
                self.text = ""
                self.positions = [(None, 0), (event["cursor"], 0)]
            case "PublicationChanged":
                self.publication = event["publication"]["status"]
            case "GenerationFinished":
                self.finished = event["generation"]
                assert self.finished["content"] == self.text
            case "GenerationAttemptFailed":
                pass
            case other:
                raise AssertionError(f"an event of type {other}")
        self.cursor = event["cursor"]
        if self.on_event is not None:
            self.on_event(event)


def _check_errors(errors: Sequence[Json]) -> None:
    """Only one kind of failure is worth another try."""
    for error in errors:
        assert error["extensions"]["code"] == "UNAVAILABLE", error
        raise Gone(1013)


def open_socket(instance: Instance) -> connect:
    """A connection that speaks the protocol; it does not wait for the other side's goodbye when it is left."""
    return connect(
        f"ws://{instance.address}/graphql",
        subprotocols=[PROTOCOL],
        proxy=None,
        compression=None,
        open_timeout=60,
        close_timeout=0.5,
        ping_interval=None,
        max_size=None,
    )


async def send(socket: ClientConnection, message: Json) -> None:
    """One message."""
    try:
        await socket.send(orjson.dumps(message).decode())
    except WebSocketException:
        raise Gone(socket.close_code or 1006) from None


async def receive(socket: ClientConnection) -> Json:
    """The next message. Raises Gone."""
    try:
        async with asyncio.timeout(_SILENCE_SECONDS):
            raw = await socket.recv()
    except WebSocketException:
        raise Gone(socket.close_code or 1006) from None
    message: Json = orjson.loads(raw)
    return message
