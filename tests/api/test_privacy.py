"""What a person may have of their own data: all of it, its end, and its end after a time."""

import io
import zipfile
from datetime import UTC, datetime, timedelta

import asyncpg
import orjson

from domain.housekeeping import Housekeeper
from persistence.tables import metadata
from tests.api.product import PASSWORD, Person, product

GENERATE = """
mutation ($input: GenerateContentInput!) {
  generateContent(input: $input) { generation { id content } errors { message code field } }
}
"""
DELETE = """
mutation ($input: DeleteAccountInput!) {
  deleteAccount(input: $input) { deleted { kind count } errors { message code field } }
}
"""
SETTINGS = """
mutation ($input: UpdateSettingsInput!) {
  updateSettings(input: $input) { settings { retentionDays } errors { message code field } }
}
"""
ADD_KEY = """
mutation ($input: AddApiKeyInput!) { addApiKey(input: $input) { apiKey { id } errors { message code field } } }
"""
HISTORY = "{ viewer { history { nodes { prompt } } } }"
WHO = "{ viewer { username } }"
KEY = "sk-test-0123456789abcdef"


async def _archive(person: Person) -> zipfile.ZipFile:
    response = await person.http.get("/export/account", headers=person.headers)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/zip"
    return zipfile.ZipFile(io.BytesIO(response.content))


async def test_everything_of_a_person_is_exported_and_nothing_secret(database_url: str) -> None:
    async with product(database_url) as running:
        ada, bob = await running.person("ada"), await running.person("bob")
        answer = (await ada.do(GENERATE, input={"prompt": "On bees — ünïcode", "wait": True}))["generation"]
        await bob.do(GENERATE, input={"prompt": "Bob's own", "wait": True})
        await ada.do(ADD_KEY, input={"provider": "openai", "key": KEY})
        with await _archive(ada) as file:
            assert file.testzip() is None
            texts = {name: file.read(name).decode() for name in file.namelist()}
        whole = "".join(texts.values())
        for secret in (KEY, PASSWORD, "password_hash", "refresh_hash", "encrypted", "Bob's own", "bob@example.org"):
            assert secret not in whole
        (user,) = texts["data/users.ndjson"].splitlines()
        assert orjson.loads(user)["email"] == "ada@example.org"
        (key,) = texts["data/api_keys.ndjson"].splitlines()
        assert orjson.loads(key)["hint"] == KEY[-4:]
        (document,) = (text for name, text in texts.items() if name.startswith("answers/"))
        assert "# Prompt\n\nOn bees — ünïcode\n" in document
        assert answer["content"] in document
        of_people = {name for name, table in metadata.tables.items() if "user_id" in table.columns}
        assert of_people <= {name.removeprefix("data/").removesuffix(".ndjson") for name in texts}


async def test_a_long_history_is_exported_whole(database_url: str) -> None:
    async with product(database_url) as running:
        ada = await running.person()
        await ada.do(GENERATE, input={"prompt": "0", "wait": True})
        # More rows than are read at a time.
        await _execute(
            database_url,
            """
            INSERT INTO content_history (id, user_id, provider, model, prompt, request_hash, status, generated_content,
                                         created_at, started_at, finished_at)
            SELECT gen_random_uuid(), user_id, provider, model, number, request_hash, status, 'answer',
                   created_at, started_at, finished_at
            FROM content_history, generate_series(1, 120) AS number
            """,
        )
        with await _archive(ada) as file:
            rows = file.read("data/content_history.ndjson").splitlines()
            assert sorted(int(orjson.loads(row)["prompt"]) for row in rows) == list(range(121))
            assert sum(name.startswith("answers/") for name in file.namelist()) == 121


async def test_an_account_is_deleted_by_its_owner(database_url: str) -> None:
    async with product(database_url) as running:
        ada, bob = await running.person("ada"), await running.person("bob")
        await ada.do(GENERATE, input={"prompt": "Bees", "wait": True})
        assert await ada.fail(DELETE, input={"password": "wrong wrong wrong"}) == (
            "INVALID_INPUT",
            ["input", "password"],
        )
        would_go = (await ada.do(DELETE, input={"password": PASSWORD, "dryRun": True}))["deleted"]
        assert {"kind": "content_history", "count": 1} in would_go
        assert (await ada.ask(WHO))["viewer"]["username"] == "ada"
        assert (await ada.do(DELETE, input={"password": PASSWORD}))["deleted"] == would_go
        assert (await ada.request(WHO)).status_code == 401
        for table in ("content_history", "sessions", "users"):
            assert await _count(database_url, table) == (0 if table == "content_history" else 1)
        assert (await bob.ask(WHO))["viewer"]["username"] == "bob"


async def test_the_last_administrator_stays(database_url: str) -> None:
    async with product(database_url) as running:
        root = await running.administrator()
        assert await root.fail(DELETE, input={"password": PASSWORD}) == ("CONFLICT", None)


async def test_generations_are_deleted_when_their_time_is_over(database_url: str) -> None:
    async with product(database_url) as running:
        ada, bob = await running.person("ada"), await running.person("bob")
        for wrong in (0, 3_651):
            assert await ada.fail(SETTINGS, input={"retentionDays": wrong}) == (
                "INVALID_INPUT",
                ["input", "retentionDays"],
            )
        assert (await ada.do(SETTINGS, input={"retentionDays": 7}))["settings"] == {"retentionDays": 7}
        for person in (ada, bob):
            for prompt in ("old", "new"):
                await person.do(GENERATE, input={"prompt": prompt, "wait": True})
        await _execute(
            database_url, "UPDATE content_history SET created_at = now() - interval '8 days' WHERE prompt = 'old'"
        )
        store, now = running.assistant.store, datetime.now(UTC)
        later, much_later = now + timedelta(minutes=5), now + timedelta(minutes=10)
        assert await Housekeeper(store=store, clock=lambda: later).delete_expired() == 1
        assert await _prompts(ada) == ["new"]
        assert await _prompts(bob) == ["new", "old"]
        assert await Housekeeper(store=store, clock=lambda: later).delete_expired() == 0
        assert await Housekeeper(store=store, clock=lambda: much_later, retention_days=8).delete_expired() == 1
        assert await _prompts(bob) == ["new"]


async def _prompts(person: Person) -> list[str]:
    return [node["prompt"] for node in (await person.ask(HISTORY))["viewer"]["history"]["nodes"]]


async def _execute(database_url: str, statement: str) -> None:
    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    await connection.execute(statement)
    await connection.close()


async def _count(database_url: str, table: str) -> int:
    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    size: int = await connection.fetchval(f"SELECT count(*) FROM {table}")
    await connection.close()
    return size
