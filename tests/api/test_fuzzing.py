"""Whatever is asked, and by whom: the server has an answer with a code, and no fault of its own."""

import asyncio
import logging
import os
import secrets
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any, Final

import asyncpg
import httpx
import pytest

from tests.api.access_table import OK, TABLE
from tests.api.assistant import at_work, outside
from tests.api.audit import IS_FULL
from tests.api.fuzzing import Asker, Fuzzer, may_ask
from tests.api.product import LOGIN, PASSWORD, REGISTER, product
from tests.api.things import SETTINGS, filled_in, things_of

# With each run of the tests the same questions, a few of each kind; with `make audit` many, and others each time.
EXAMPLES: Final = 40 if IS_FULL else 4
SEED: Final = int(os.environ.get("AUDIT_SEED") or (secrets.randbelow(1_000_000) if IS_FULL else 6))

# Whatever somebody was made to do to themselves or to others, undone: so that the next question is not asked in vain.
MENDED: Final = """
    UPDATE users SET is_active = true, role = CASE username WHEN 'root' THEN 'ADMIN' ELSE 'USER' END;
    UPDATE server_settings SET maintenance_message = NULL, sign_up_policy = NULL;
    UPDATE ai_providers SET is_active = true;
    DELETE FROM budget_limits;
    DELETE FROM sign_in_attempts;
"""


class Household:
    """The people who ask, signed in again whenever they were thrown out, and the house put in order behind them."""

    def __init__(self, http: httpx.Client, database_url: str) -> None:
        self._http = http
        self._database_url = database_url.replace("postgresql+asyncpg", "postgresql")
        self._headers: dict[str, Mapping[str, str]] = {}

    def mend(self) -> None:
        """Everybody may do again what they may."""

        async def execute() -> None:
            connection = await asyncpg.connect(self._database_url)
            try:
                await connection.execute(MENDED)
            finally:
                await connection.close()

        asyncio.run(execute())

    def sign_in(self, name: str) -> Mapping[str, str]:
        """The headers by which they are known, of a new account if there is none any more."""
        known = self._headers.get(name, {})
        if known and self._post("{ viewer { id } }", known).status_code == 200:
            return known
        account = {"email": f"{name}@example.org", "username": name, "password": PASSWORD}
        self.mend()
        payload = self._done(LOGIN, {"login": name, "password": PASSWORD})
        if payload["errors"]:
            payload = self._done(REGISTER, account)
            self.mend()  # an administrator is one again
        assert payload["errors"] == []
        self._headers[name] = {"authorization": f"Bearer {payload['accessToken']}"}
        return self._headers[name]

    def _done(self, mutation: str, input_: Mapping[str, str]) -> Any:
        (payload,) = self._post(mutation, {}, input=input_).json()["data"].values()
        return payload

    def _post(self, query: str, headers: Mapping[str, str], **variables: object) -> httpx.Response:
        return self._http.post("/graphql", json={"query": query, "variables": variables}, headers=dict(headers))


@pytest.mark.parametrize("number", [str(2**63), str(-(2**63) - 1), "9" * 400, "1e400", "-1e400"])
async def test_a_number_that_cannot_be_stored_is_refused(database_url: str, number: str) -> None:
    async with product(database_url) as running:
        ada = await running.person()
        stored = "{ viewer { settings { uiPreferences } } }"
        change = "mutation { updateSettings(input: { uiPreferences: { a: [{ b: %s }] } }) { errors { code } } }"
        await ada.do(change % (2**63 - 1))
        before = await ada.ask(stored)
        assert (await ada.refused(change % number))["code"] in ("GRAPHQL_VALIDATION_FAILED", "INVALID_INPUT")
        assert await ada.ask(stored) == before == {"viewer": {"settings": {"uiPreferences": {"a": [{"b": 2**63 - 1}]}}}}


async def test_no_question_is_a_fault_of_the_server(
    database_url: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    async with outside() as world, at_work(database_url, world, SETTINGS) as running:
        http = running.stack.enter_context(httpx.Client(base_url=f"http://{running.address}", timeout=60))
        ada, root = await running.person("ada"), await running.administrator()
        things = await things_of(running, ada, root, world)
        household = Household(http, database_url)
        fuzzer = Fuzzer(
            http,
            arguments={name: filled_in(case.arguments, things) for name, case in TABLE.items()},
            askers=[
                Asker("visitor", dict),
                Asker("administrator", partial(household.sign_in, "root")),
                Asker("owner", partial(household.sign_in, "ada")),
            ],
            mend=household.mend,
            introspect_as=root.headers,
        )
        with caplog.at_level(logging.ERROR):
            # It blocks, and the server answers in this thread.
            tally = await asyncio.to_thread(fuzzer.run, examples=EXAMPLES, seed=SEED)
    with capsys.disabled() if IS_FULL else nullcontext():
        print(f"\nAUDIT_SEED={SEED}: {tally}")
    assert tally.faults == [], "\n\n".join(map(str, [f"AUDIT_SEED={SEED}", *tally.faults]))
    # What is told to nobody, as that a thing of somebody else was withheld, is logged.
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
    # A server that turns everything away is no fault either, but nothing would have been tried.
    for asker in ("owner", "administrator"):
        assert tally.share(asker) > 0.6
        names = [name for by, name in tally.asked if by == asker and may_ask(asker, name)]
        assert [name for name in names if not tally.let_in[asker, name]] == []
        answered = [name for name in names if getattr(TABLE[name], asker) == OK]
        assert [name for name in answered if not tally.done[asker, name]] == []
