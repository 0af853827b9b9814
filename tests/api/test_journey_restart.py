"""What a person has outlives the process: a restart in good order, and a death without warning."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from ops.encryption_key import EncryptionKey
from tests.api.assistant import (
    WATCH,
    Outside,
    at_work,
    event_of,
    kinds_of,
    outside,
    over_sse,
    over_websocket,
    start,
    stored,
    text_of,
    until_text,
)
from tests.api.product import PASSWORD, Person
from tests.api.server_process import ServerProcess, server_process
from tests.standins.scenario import DEFAULT_ANSWER, Fault, Gate, Scenario, cut
from tests.waiting import until

ADD_KEY = """
mutation Add($input: AddApiKeyInput!) { addApiKey(input: $input) { apiKey { id } errors { code message field } } }
"""
LOGIN = "mutation Login($input: LoginInput!) { login(input: $input) { errors { code message field } } }"
WHO = "{ viewer { username history { totalCount } apiKeys { hint } } }"
SERVER_KEY = "sk-the-servers-own-0123456789"
OWN_KEY = "sk-the-persons-own-9876543210"
PROMPT = "Tell nobody of the confidential-word."


def held(gate: Gate) -> Scenario:
    """The usual answer, whose pieces come when the test says so."""
    return Scenario(text=cut(DEFAULT_ANSWER, 5), gate=gate)


@asynccontextmanager
async def visitor(server: ServerProcess) -> AsyncIterator[Person]:
    """Somebody with a client."""
    async with httpx.AsyncClient(base_url=f"http://{server.address}", timeout=120) as client:
        yield Person(client, server.address)


def settings_of(world: Outside, database_url: str, key: EncryptionKey) -> dict[str, str]:
    """How the process is told of its database, its key and the foreign systems."""
    addresses = {name.upper(): address for name, address in world.addresses.items()}
    return {**addresses, "DATABASE_URL": database_url, "ENCRYPTION_KEYS": key.written(), "OPENAI_API_KEY": SERVER_KEY}


async def test_a_restart_lets_running_answers_end_and_keeps_everything(database_url: str, tmp_path: Path) -> None:
    async with outside() as world:
        settings = settings_of(world, database_url, EncryptionKey.generate()) | {"LOG_LEVEL": "debug"}
        gate = Gate(10)
        world.openai.enqueue(held(gate))
        async with server_process(tmp_path / "first", **settings) as first, visitor(first) as ada:
            await ada.register("ada")
            generation_id = await start(ada, PROMPT)
            await until_text(ada, generation_id)
            async with ada.socket() as ws:
                await ws.subscribe("1", WATCH, variables={"id": generation_id})
                events = [event_of((await ws.receive())["payload"])]
                stopping = asyncio.create_task(first.stop())
                await until(lambda: "draining" in first.printed())
                gate.open()
                while (message := await ws.receive())["type"] == "next":
                    events.append(event_of(message["payload"]))
            assert text_of(events) == DEFAULT_ANSWER
            assert await stopping == 0
            await ada.http.aclose()
        headers = ada.headers

        async with server_process(tmp_path / "second", **settings) as second, visitor(second) as ada:
            ada.headers = headers
            assert (await ada.ask(WHO))["viewer"] == {"username": "ada", "history": {"totalCount": 1}, "apiKeys": []}
            found = await stored(ada, generation_id)
            assert (found["status"], found["content"], found["prompt"]) == ("SUCCEEDED", DEFAULT_ANSWER, PROMPT)
            assert text_of(await over_sse(ada, generation_id)) == DEFAULT_ANSWER
            await ada.do(LOGIN, input={"login": "ada", "password": PASSWORD})
            # Keys are sealed: another process opens them with the same encryption key.
            await ada.do(ADD_KEY, input={"provider": "anthropic", "key": OWN_KEY})
            await start(ada, PROMPT, provider="anthropic", wait=True)
            assert await second.stop() == 0

        assert "An administrator was made" in first.printed()
        assert "An administrator was made" not in second.printed()
        for server in (first, second):
            printed = server.printed()
            assert "http_request" in printed
            for secret in (PROMPT, "confidential-word", DEFAULT_ANSWER[:20], SERVER_KEY, OWN_KEY, PASSWORD):
                assert secret not in printed
            for token in (headers["authorization"].removeprefix("Bearer "), settings["ENCRYPTION_KEYS"][-40:]):
                assert token not in printed
            assert "Traceback" not in printed


async def test_an_answer_whose_server_has_died_is_kept_or_written_anew(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with outside() as world:
        key = EncryptionKey.generate()
        # One has shown text when the server dies, the other has not been answered at all.
        world.openai.enqueue(held(Gate(10)), Scenario(fault=Fault.HANG))
        settings = settings_of(world, database_url, key)
        async with server_process(tmp_path / "output", **settings) as server, visitor(server) as ada:
            await ada.register("ada")
            shown_id = await start(ada, "One.")
            await world.openai.wait_requests(1)
            hidden_id = await start(ada, "Two.")
            await world.openai.wait_requests(2)
            while not (await stored(ada, shown_id))["content"]:  # noqa: ASYNC110  (the store does not tell by itself)
                await asyncio.sleep(0.05)
            seen = await until_text(ada, shown_id)
            await server.kill()
        await world.openai.wait_closed()
        assert world.openai.streams_abandoned == 2

        # Its lease must run out before anybody else may touch what it has left.
        monkeypatch.setattr("composition.utc_now", lambda: datetime.now(UTC) + timedelta(minutes=1))
        # The same port by name, so that the tokens of the dead server are from the same issuer.
        settings_in_process = {"openai_api_key": SERVER_KEY, "port": 0}
        async with at_work(database_url, world, settings_in_process, keys=[key]) as running:
            revenant = await running.visitor()
            revenant.headers = ada.headers
            events = await over_websocket(revenant, shown_id)
            found = await stored(revenant, shown_id)
            assert (found["status"], events[-1]["generation"]["status"]) == ("INTERRUPTED", "INTERRUPTED")
            assert (found["error"]["code"], found["finishReason"]) == ("UNAVAILABLE", None)
            assert found["content"] == text_of(events)
            assert 0 < len(found["content"]) < len(DEFAULT_ANSWER)
            assert DEFAULT_ANSWER.startswith(found["content"])

            # Who has seen more than was stored is told to begin anew; in any case the texts end up the same.
            rest = await over_websocket(revenant, shown_id, after=seen[-1]["cursor"])
            if kinds_of(rest)[0] == "GenerationRestarted":
                assert text_of(rest) == found["content"]
            else:
                assert text_of(seen) + text_of(rest) == found["content"]

            events = await over_websocket(revenant, hidden_id)
            assert events[-1]["generation"]["status"] == "SUCCEEDED"
            assert text_of(events) == DEFAULT_ANSWER
            assert world.openai.streams_opened == 3
