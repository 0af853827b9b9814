"""Notion's webhooks: the handshake, events that are genuine, forged, late, doubled or strange, and two instances."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from composition import assistant
from domain.errors import Forbidden
from domain.notion_webhook_service import NotionWebhookService
from domain.secret import Secret
from main import take_webhook
from ops.config import Config
from ops.encryption_key import EncryptionKey
from tests.api.assistant import everything_in
from tests.api.test_page_sync import Scene, scene, until_state
from tests.standins.notion_hand import paragraph
from tests.standins.notion_webhooks import Subscription, signature, subscribe
from tests.waiting import until


def webhooks_of(it: Scene) -> NotionWebhookService:
    return it.running.assistant.webhooks


@asynccontextmanager
async def subscribed(database_url: str) -> AsyncIterator[tuple[Scene, Subscription]]:
    """A page, and a subscription that an operator has verified."""
    async with scene(database_url) as it:
        window_id = await webhooks_of(it).open_window()
        subscription = subscribe(
            it.notion.memory, it.notion.memory.workspaces[0], f"http://{it.running.address}/notion/webhook"
        )
        assert (await subscription.shake_hands(it.ada.http)).status_code == 200
        token = await webhooks_of(it).find_token(window_id)
        assert token is not None
        subscription.verify(token.reveal())
        yield it, subscription


async def test_what_happens_to_a_page_is_noticed_at_once(database_url: str) -> None:
    async with subscribed(database_url) as (it, subscription):
        it.hand.add(it.node, paragraph("New."))
        response = await subscription.send(it.ada.http, subscription.event("page.content_updated", it.node))
        assert (response.status_code, response.content) == (200, b"")
        assert "New." in (await until_state(it, "CHANGED_IN_NOTION"))["notionVersion"]["content"]

        # Also what happens to the place that the page is in.
        it.hand.trash(it.parent)
        await subscription.send(it.ada.http, subscription.event("page.deleted", it.parent))
        await until_state(it, "GONE")
        it.hand.restore(it.parent)
        await subscription.send(it.ada.http, subscription.event("page.undeleted", it.node))
        await until_state(it, "CHANGED_IN_NOTION")


async def test_what_happens_above_a_page_has_it_looked_at_and_not_read(database_url: str) -> None:
    async with subscribed(database_url) as (it, subscription):
        it.node.edited_at -= timedelta(hours=1)
        before = await it.sync()
        it.notion.requests.clear()
        await subscription.send(it.ada.http, subscription.event("page.content_updated", it.parent))
        await until(partial(_is_seen_since, it, before["lastSyncAt"]))
        assert [(each.method, each.path) for each in it.notion.requests] == [("GET", f"/v1/pages/{it.node.id}")]

        await subscription.send(it.ada.http, subscription.event("page.content_updated", it.node))
        await until(partial(_is_read, it))


async def _is_seen_since(it: Scene, moment: str) -> bool:
    return bool((await it.page())["lastSyncAt"] != moment)


def _is_read(it: Scene) -> bool:
    return f"/v1/blocks/{it.node.id}/children" in {each.path for each in it.notion.requests}


async def test_what_is_not_to_be_believed_changes_nothing(database_url: str) -> None:
    async with subscribed(database_url) as (it, subscription):
        url, http = subscription.url, it.ada.http
        event = subscription.event("page.content_updated", it.node)
        body = json.dumps(event).encode()
        old = subscription.event("page.deleted", it.node, at=datetime.now(UTC) - timedelta(days=4))
        before = await everything_in(database_url)

        for headers in (
            {},
            {"x-notion-signature": ""},
            {"x-notion-signature": "sha256="},
            {"x-notion-signature": subscription.headers(body)["x-notion-signature"].removeprefix("sha256=")},
            {"x-notion-signature": signature(body, "secret_other")},
            {"x-notion-signature": signature(body, "")},
            {"x-notion-signature": signature(body + b" ", subscription.verification_token)},
            {"x-notion-signature": "sha1=" + "0" * 40},
        ):
            assert (await http.post(url, content=body, headers=headers)).status_code == 401
        # A handshake that nobody waits for, with the right token or another.
        for token in (subscription.verification_token, "secret_mine"):
            assert (await http.post(url, json={"verification_token": token})).status_code == 403
        for wrong in (b"", b"[]", b"{", b"\xff", b"[" * 100_000):
            assert (await http.post(url, content=wrong)).status_code == 400
            assert (await http.post(url, content=wrong, headers=subscription.headers(wrong))).status_code == 400
        assert (await http.post(url, content=b"x" * 262_145)).status_code == 413
        assert (await http.get(url)).status_code == 405
        # Signed, and yet nothing to act on.
        assert (await subscription.send(http, old)).status_code == 200
        strange: list[Any] = [{}, event | {"entity": None}, event | {"id": 7}, event | {"timestamp": "soon"}]
        strange += [event | {"entity": {"id": "x\0y", "type": "page"}}, event | {"entity": {"id": "x", "type": "cat"}}]
        for each in strange:
            assert (await subscription.send(http, each)).status_code == 200
        assert await everything_in(database_url) == before


async def test_an_event_counts_once(database_url: str) -> None:
    async with subscribed(database_url) as (it, subscription):
        event = subscription.event("page.content_updated", it.node)
        it.hand.add(it.node, paragraph("New."))
        await subscription.send(it.ada.http, event)
        await until_state(it, "CHANGED_IN_NOTION")
        before = await everything_in(database_url)
        assert len(before["notion_events"]) == 1
        for attempt in (2, 8):
            assert (await subscription.send(it.ada.http, event, attempt=attempt)).status_code == 200
        assert await everything_in(database_url) == before


async def test_two_instances_share_tokens_and_events(database_url: str) -> None:
    keys = (EncryptionKey.generate(),)
    async with AsyncExitStack() as stack:
        first, second = [
            (await stack.enter_async_context(assistant(Config(), database_url=database_url, keys=keys))).webhooks
            for _ in range(2)
        ]
        windows = [await first.open_window(), await second.open_window()]
        await first.receive(b'{"verification_token": "secret_both"}', None)
        assert [await second.find_token(each) for each in windows] == [None, Secret("secret_both")]
        event = {
            "id": "e1",
            "timestamp": datetime.now(UTC).isoformat(),
            "type": "page.moved",
            "entity": {"id": "p1", "type": "page"},
        }
        body = json.dumps(event).encode()
        await asyncio.gather(
            *(each.receive(body, signature(body, "secret_both")) for each in (first, second) for _ in range(5))
        )
        assert len((await everything_in(database_url))["notion_events"]) == 1


async def test_the_command_waits_for_the_token_and_shows_it(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {
        "database_url": database_url.replace("postgresql+asyncpg", "postgresql"),
        "encryption_keys": f"k1:{base64.b64encode(b'k' * 32).decode()}",
        "public_url": "https://assistant.example",
    }
    config = Config.model_validate(settings)
    async with (
        assistant(Config(), database_url=database_url, keys=config.encryption_keys) as running,
        asyncio.TaskGroup() as group,
    ):
        command = group.create_task(take_webhook(config, forget=False))
        async with asyncio.timeout(90):
            while True:
                try:
                    await running.webhooks.receive(b'{"verification_token": "secret_shown"}', None)
                except Forbidden:
                    await asyncio.sleep(0.05)
                else:
                    break
            await command
        said = capsys.readouterr().out
        assert "https://assistant.example/notion/webhook" in said
        assert "    secret_shown\n" in said
        await take_webhook(config, forget=True)
        assert "forgotten: 1" in capsys.readouterr().out


async def test_a_window_takes_one_token_and_several_integrations_may_send(database_url: str) -> None:
    async with subscribed(database_url) as (it, first):
        service = webhooks_of(it)
        window_id = await service.open_window()
        for wrong in ("", "two words", "x" * 513, "ü", 7):
            response = await it.ada.http.post(first.url, json={"verification_token": wrong})
            assert response.status_code == 400
        assert await service.find_token(window_id) is None
        second = subscribe(it.notion.memory, first.workspace, first.url)
        assert (await second.shake_hands(it.ada.http)).status_code == 200
        assert (await second.shake_hands(it.ada.http)).status_code == 403
        second.verify(await _token(service, window_id))

        closed = await service.open_window()
        await service.close_window(closed)
        with pytest.raises(Forbidden):
            await service.receive(b'{"verification_token": "secret_late"}', None)

        it.hand.trash(it.node)
        assert (await first.send(it.ada.http, first.event("page.deleted", it.node))).status_code == 200
        await until_state(it, "GONE")
        it.hand.restore(it.node)
        event = second.event("page.undeleted", it.node)
        # Tokens are read anew once a second at most.
        while (await second.send(it.ada.http, event)).status_code == 401:  # noqa: ASYNC110  (asked over HTTP)
            await asyncio.sleep(0.1)
        await until_state(it, "IN_SYNC")

        rows = "".join((await everything_in(database_url))["notion_webhooks"])
        assert first.verification_token.encode().hex() not in rows
        assert first.verification_token not in rows
        assert await service.forget_tokens() == 2


async def _token(service: NotionWebhookService, window_id: Any) -> str:
    token = await service.find_token(window_id)
    assert token is not None
    return token.reveal()
