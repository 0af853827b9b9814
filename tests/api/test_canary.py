"""Planted secrets travel through everything that works and everything that fails, and are found nowhere again."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import httpx
from starlette.types import Receive, Scope, Send

from ops.encryption_key import EncryptionKey
from tests.api.assistant import CONNECT, GENERATE, PUBLISH, WATCH, Outside, everything_in, outside
from tests.api.product import PASSWORD, Person
from tests.api.server_process import ServerProcess, server_process
from tests.standins.notion_faults import Fault as NotionFault
from tests.standins.notion_faults import FaultKind
from tests.standins.scenario import Failure, Fault, Scenario
from tests.standins.server import running

GOOD_KEY = "sk-canary-good-7f3a9b2c5d8e4a1b"
BAD_KEY = "sk-canary-invalid-4e1d8c6b2a9f7c3d"
BAD_TOKEN = "ntn_canary9d8c7b6a5f4e3d2c1b0a9f8e7d6c5b4a3"
PROMPT = "canary-prompt-2c9e7d1f Tell nobody."
SYSTEM_PROMPT = "canary-system-8a5b3e6c Be brief."
WRONG_PASSWORD = "canary-password-6d2f8b4e1c"
FAULTS = [fault for fault in Fault if fault not in (Fault.STALL_ALIVE, Fault.DOCUMENTED_ERROR_EVENT)]
UNBEGUN = (Fault.HANG, Fault.NOT_A_STREAM)
MODELS = {"openai": "gpt-6.1-sol", "anthropic": "claude-haiku-5-5", "deepseek": "deepseek-flash"}

ADD_PROVIDER = """
mutation ($input: AddProviderInput!) { addProvider(input: $input) { provider { id } errors { message code } } }
"""
ADD_KEY = """
mutation ($input: AddApiKeyInput!) { addApiKey(input: $input) { apiKey { id hint } errors { message code field } } }
"""
REMOVE_KEY = "mutation ($input: IdInput!) { removeApiKey(input: $input) { errors { message } } }"
TEST_KEY = """
mutation ($input: IdInput!) {
  testApiKey(input: $input) { test { isAccepted error { message reason } } errors { message } }
}
"""
LOGIN = "mutation ($input: LoginInput!) { login(input: $input) { accessToken errors { message code } } }"
EVERYTHING = """
{
  viewer {
    id username role apiKeys { id hint isActive lastUsedAt expiresAt provider { id } } notion { workspaceName }
    settings { systemPrompt uiPreferences }
    history(first: 100) { nodes {
      id status prompt systemPrompt content reasoning parameters error { message code reason }
      publication { status error { message reason } }
    } }
  }
  providers { id name unavailableReason models { id } }
}
"""
ADMINISTRATION = "{ providers(includeInactive: true) { id name administration { baseUrl isActive models { id } } } }"
NODE = "query ($id: ID!) { node(id: $id) { id ... on Generation { prompt content } ... on ApiKey { hint } } }"


class Echo:
    """A server that speaks Chat Completions, and says whatever it is told back in all its errors."""

    base_path = "/v1"

    def __init__(self) -> None:
        self.requests = 0

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        told = dict(scope["headers"]).get(b"authorization", b"").decode() + " " + body.decode()
        self.requests += 1
        error = json.dumps({"error": {"message": told, "code": told, "type": told}}).encode()
        status, kind, answer = (
            (401, b"application/json", error),
            (400, b"application/json", error),
            (429, b"application/json", error),
            (500, b"text/html", b"<h1>" + told.encode() + b"</h1>"),
            (200, b"text/html", told.encode()),
            (200, b"text/event-stream", b"data: " + error + b"\n\n"),
            (200, b"text/event-stream", b"data: " + told.encode() + b"\n\n"),
            (302, b"text/plain", told.encode()),
        )[self.requests % 8]
        elsewhere = quote(told).encode()
        headers = [(b"content-type", kind), (b"x-request-id", elsewhere), (b"location", b"/" + elsewhere)]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


def spellings(secret: str) -> set[str]:
    """As it may have been written somewhere."""
    raw = secret.encode()
    # Wherever it begins, base64 writes some of it alike.
    encoded = {base64.b64encode(b"x" * shift + raw).decode()[4:-4] for shift in range(3)}
    return {secret, quote(secret), raw.hex(), secret[::-1], json.dumps(secret)[1:-1], *encoded}


def assert_silent(text: str, *secrets: str) -> None:
    """None of it is there, however it is written."""
    searched = text.lower()
    for secret in secrets:
        found = [spelling for spelling in spellings(secret) if spelling.lower() in searched]
        assert not found, text[max(0, searched.index(found[0].lower()) - 300) :][:600]


@asynccontextmanager
async def overheard(server: ServerProcess, answers: list[str]) -> AsyncIterator[Person]:
    """Somebody whose answers are all kept."""

    async def keep(response: httpx.Response) -> None:
        answers.append(str(response.headers) + (await response.aread()).decode())

    hooks = {"response": [keep]}
    async with httpx.AsyncClient(base_url=f"http://{server.address}", timeout=60, event_hooks=hooks) as client:
        yield Person(client, server.address)


async def generate_in_all_ways(ada: Person, world: Outside, provider: str) -> None:
    """One answer that comes, and every one that does not."""
    scenarios = [
        Scenario(),
        *(Scenario(failure=failure) for failure in Failure),
        *(Scenario(fault=fault, failure=Failure.OVERLOADED, fault_after=int(fault not in UNBEGUN)) for fault in FAULTS),
    ]
    standin = {"openai": world.openai, "anthropic": world.anthropic, "deepseek": world.deepseek}[provider]
    standin.enqueue(*scenarios)
    async with asyncio.TaskGroup() as group:
        for _ in scenarios:
            group.create_task(generate(ada, provider=provider, model=MODELS[provider]))


async def generate(ada: Person, **input_: object) -> str:
    """The id of an answer that has come to its end."""
    asked = {"prompt": PROMPT, "systemPrompt": SYSTEM_PROMPT, "wait": True, **input_}
    response = await ada.request(GENERATE, input=asked)
    return str((response.json()["data"]["generateContent"]["generation"] or {}).get("id"))


async def used_cookies(server: ServerProcess) -> tuple[str, ...]:
    """The cookies of a sign-in, used well, used again when they are exchanged, and told in the wrong places."""
    page = {"x-session": "cookie", "origin": f"http://{server.address}"}
    refresh = {"query": "mutation { refreshSession { accessToken errors { message code } } }"}
    found: list[str] = []
    async with httpx.AsyncClient(base_url=f"http://{server.address}", timeout=60) as http:

        async def post(body: Mapping[str, object], *cookies: str) -> list[str]:
            response = await http.post("/graphql", json=body, headers={**page, "cookie": "; ".join(cookies)})
            return [each.partition(";")[0] for each in response.headers.get_list("set-cookie")]

        login = await post({"query": LOGIN, "variables": {"input": {"login": "ada", "password": PASSWORD}}})
        newer = await post(refresh, *login)
        newest = await post(refresh, *newer)
        found += [each.partition("=")[2] for each in (*login, *newer, *newest)]
        assert len(set(found)) == len(found) == 6
        access, refreshing = (each.partition("=")[2] for each in newest)
        for wrong in (f"Bearer {refreshing}", access):
            await http.post("/graphql", json=refresh, headers={"authorization": wrong})
        await http.get("/export/account", params={"token": access}, headers={**page, "cookie": newest[0]})
        await http.get("/graphql", params={"query": f'{{ node(id: "{refreshing}") {{ id }} }}'}, headers=page)
        await post(refresh, *login)  # which ends it
    return tuple(found)


async def test_nothing_that_was_planted_is_found(database_url: str, tmp_path: Path) -> None:
    hers: list[str] = []
    others: list[str] = []
    async with outside() as world, running(Echo()) as echo_url:
        workspace = world.notion.add_workspace("Acme")
        parent = world.notion.add_page("Notes", workspace=workspace)
        secrets: tuple[str, ...] = (GOOD_KEY, BAD_KEY, BAD_TOKEN, workspace.token, WRONG_PASSWORD, PASSWORD)
        settings = {name.upper(): address for name, address in world.addresses.items()} | {
            "DATABASE_URL": database_url,
            "ENCRYPTION_KEYS": EncryptionKey.generate().written(),
            "PRIVATE_ENDPOINTS": "127.0.0.1",
            "LOG_LEVEL": "debug",
            "FIRST_TOKEN_TIMEOUT_SECONDS": "1",
            "IDLE_TIMEOUT_SECONDS": "1",
            "MAX_RUNNING_GENERATIONS_PER_USER": "100",
            "GENERATIONS_PER_MINUTE": "0",
            "COST_PER_MINUTE": "0",
            "COOKIE_SESSIONS": "true",
        }
        async with (
            server_process(tmp_path / "output", **settings) as server,
            overheard(server, hers) as ada,
            overheard(server, others) as bob,
            overheard(server, others) as root,
        ):
            await ada.register("ada")
            await bob.register("bob")
            shown = re.search(r"password  (\S+)", server.printed())
            assert shown is not None
            root.sign_in(await root.do(LOGIN, input={"login": "admin", "password": shown[1]}))
            await ada.request(LOGIN, input={"login": "ada", "password": WRONG_PASSWORD})
            secrets += await used_cookies(server)
            await root.do(ADD_PROVIDER, input={"id": "echo", "name": "Echo", "baseUrl": echo_url})

            for provider in (*MODELS, "echo"):
                for key in (BAD_KEY, GOOD_KEY):
                    added = (await ada.do(ADD_KEY, input={"provider": provider, "key": key}))["apiKey"]
                    await ada.request(TEST_KEY, input={"id": added["id"]})
                    if key == BAD_KEY:
                        await generate(ada, provider=provider, model="any")
                        await ada.do(REMOVE_KEY, input={"id": added["id"]})
            for provider in MODELS:
                await generate_in_all_ways(ada, world, provider)
            for _ in range(8):
                await generate(ada, provider="echo", model="any")

            await ada.request(CONNECT, input={"token": BAD_TOKEN})
            await ada.do(CONNECT, input={"token": workspace.token})
            publish = {"parent": world.notion.address(parent)}
            published = await generate(ada, publish=publish, provider="openai")
            world.notion.enqueue(NotionFault(kind=FaultKind.LOST), NotionFault(kind=FaultKind.GARBLED))
            await ada.request(PUBLISH, input={"generationId": published, "publish": publish})
            await ada.events(WATCH, id=published)
            malformed = f'{{"query": "{{ viewer", "variables": {{"key": "{GOOD_KEY}"}}'
            await ada.http.post("/graphql", content=malformed, headers=ada.headers)
            await ada.request("{ nothing(key: $key) }", key=GOOD_KEY)

            await ada.request(EVERYTHING)
            key_ids = [key["id"] for key in (await ada.ask(EVERYTHING))["viewer"]["apiKeys"]]
            for person in (bob, root):
                await person.request(EVERYTHING)
                await person.request(ADMINISTRATION)
                for id_ in (published, *key_ids):
                    await person.request(NODE, id=id_)
            metrics = (await root.http.get("/metrics")).text
            assert await server.stop() == 0
        printed = server.printed()

    assert printed.count("generation_finished") > 60
    assert "model_list_failed" in printed or "http_request" in printed
    stored = await everything_in(database_url)
    for text in (*hers, *others, printed, metrics, *(row for rows in stored.values() for row in rows)):
        assert_silent(text, *secrets)
    # What she has asked is hers alone: it is in her history, and nobody else hears of it.
    assert any(PROMPT in answer for answer in hers)
    for text in (*others, printed, metrics, *stored["audit_log"]):
        assert_silent(text, PROMPT.split(maxsplit=1)[0], SYSTEM_PROMPT.split(maxsplit=1)[0])
