"""A machine that stands still, and goes on after all leases have ended, costs no running answer."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from ops.encryption_key import EncryptionKey
from tests.api.assistant import at_work, kinds_of, outside, over_websocket, start, text_of, until_text
from tests.standins.scenario import DEFAULT_ANSWER, Gate, Scenario
from tests.waiting import until

SETTINGS = {"openai_api_key": "sk-server-0123456789"}
LEASES_END = "UPDATE content_history SET lease_until = lease_until - interval '5 minutes' WHERE status = 'RUNNING'"
START = datetime.min.replace(tzinfo=UTC)


async def test_nobody_is_taken_for_dead_when_all_have_stood_still(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stood_still = timedelta()
    monkeypatch.setattr("composition.utc_now", lambda: datetime.now(UTC) + stood_still)
    keys = [EncryptionKey.generate()]
    gate = Gate(3)
    async with (
        outside() as world,
        at_work(database_url, world, SETTINGS, keys=keys) as running,
        at_work(database_url, world, SETTINGS, keys=keys) as other,
    ):
        # When each has last looked for what was abandoned.
        generators = [each.assistant.generator for each in (running, other)]
        await until(lambda: all(each._looked_for_abandoned_at is not None for each in generators))
        ada = await running.person()
        world.openai.enqueue(Scenario(gate=gate))
        generation_id = await start(ada)
        await until_text(ada, generation_id)
        # As a suspended machine finds it: by all clocks, leases have ended long ago.
        connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
        stood_still = timedelta(minutes=5)
        await connection.execute(LEASES_END)
        await connection.close()
        went_on_at = datetime.now(UTC) + stood_still
        await until(lambda: all((each._looked_for_abandoned_at or START) > went_on_at for each in generators))
        gate.open()
        events = await over_websocket(ada, generation_id)
    assert kinds_of(events) == ["GenerationReasoning", "GenerationText", "GenerationFinished"]
    assert events[-1]["generation"]["status"] == "SUCCEEDED"
    assert text_of(events) == DEFAULT_ANSWER
    assert len(world.openai.requests) == 1
