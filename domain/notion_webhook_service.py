"""Takes in what Notion sends: the handshake with an operator, and signed events that make pages due."""

from __future__ import annotations

import hmac
import json
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from domain.cipher import Cipher, notion_webhook_place
from domain.errors import Forbidden, InvalidInput, Unauthenticated
from domain.notion_webhook import EVENTS_KEPT, event_of
from domain.secret import Secret
from domain.store import Store

_log = logging.getLogger(__name__)

HANDSHAKE_WINDOW: Final = timedelta(minutes=10)
MAX_TOKEN_CHARS: Final = 512
_SIGNATURE_PREFIX: Final = "sha256="
_TOKENS_FRESH: Final = timedelta(seconds=1)
# What can hold pages, or is one.
_ENTITIES: Final = frozenset({"page", "database", "data_source"})


class NotionWebhookService:
    """Several integrations may send, each with a verification token of its own."""

    def __init__(
        self,
        *,
        store: Store,
        cipher: Cipher,
        clock: Callable[[], datetime],
        new_id: Callable[[], UUID],
        wake: Callable[[], None],
    ) -> None:
        self._store = store
        self._cipher = cipher
        self._clock = clock
        self._new_id = new_id
        self._wake = wake
        self._tokens: tuple[Secret, ...] = ()
        self._tokens_read_at: datetime | None = None

    async def receive(self, body: bytes, signature: str | None) -> None:
        """A request to the webhook's address.

        Raises Unauthenticated for what Notion has not signed, Forbidden for a handshake that nobody waits for, and
        InvalidInput for what is neither.
        """
        if signature is None:
            await self._shake_hands(body)
            return
        if not await self._is_signed(body, signature):
            raise Unauthenticated("The signature is not right.")
        event = event_of(_json(body))
        now = self._clock()
        if event is None or event.entity_type not in _ENTITIES or event.at < now - EVENTS_KEPT:
            return
        async with self._store.begin() as tx:
            if not await tx.notion_webhooks.note_event(event.id, now=now):
                return
            pages = await tx.tracked_pages.ask_for_looks([event.entity_id], now=now)
        if pages:
            _log.info("notion_event", extra={"type": event.type, "pages": pages})
            self._wake()

    async def open_window(self) -> UUID:
        """For some minutes the next handshake's token is kept."""
        window_id, now = self._new_id(), self._clock()
        async with self._store.begin() as tx:
            await tx.notion_webhooks.open_window(window_id, now=now, until=now + HANDSHAKE_WINDOW)
        return window_id

    async def close_window(self, window_id: UUID) -> None:
        """No token is kept any more."""
        async with self._store.begin() as tx:
            await tx.notion_webhooks.close_window(window_id, now=self._clock())

    async def find_token(self, window_id: UUID) -> Secret | None:
        """The token that has come since the window was opened."""
        async with self._store.begin() as tx:
            sealed = await tx.notion_webhooks.find_token(window_id)
        return None if sealed is None else self._cipher.open(sealed, place=notion_webhook_place(window_id))

    async def forget_tokens(self) -> int:
        """Listens to nobody any more; answers how many tokens there were."""
        async with self._store.begin() as tx:
            return await tx.notion_webhooks.forget_tokens()

    async def _shake_hands(self, body: bytes) -> None:
        token = _json(body).get("verification_token")
        if token is None:
            raise Unauthenticated("The signature is missing.")
        if not isinstance(token, str) or not _is_token(token):
            raise InvalidInput("This is not a verification token.")
        now = self._clock()
        async with self._store.begin() as tx:
            window_id = await tx.notion_webhooks.find_window(now=now)
            if window_id is None:
                raise Forbidden(
                    "Nobody waits for a verification token: run `.venv/bin/python main.py notion-webhook` first."
                )
            sealed = self._cipher.seal(Secret(token), place=notion_webhook_place(window_id))
            await tx.notion_webhooks.keep_token(window_id, sealed=sealed, now=now)
        _log.info("notion_webhook_handshake")

    async def _is_signed(self, body: bytes, signature: str) -> bool:
        if not signature.startswith(_SIGNATURE_PREFIX) or not signature.isascii():
            return False
        if self._is_signed_by_known(body, signature):
            return True
        now = self._clock()
        # Not at each wrong signature: those cost their sender nothing.
        if self._tokens_read_at is not None and now - self._tokens_read_at < _TOKENS_FRESH:
            return False
        async with self._store.begin() as tx:
            sealed = await tx.notion_webhooks.list_tokens()
        self._tokens = tuple(
            self._cipher.open(each, place=notion_webhook_place(window_id)) for window_id, each in sealed
        )
        self._tokens_read_at = now
        return self._is_signed_by_known(body, signature)

    def _is_signed_by_known(self, body: bytes, signature: str) -> bool:
        given = signature.removeprefix(_SIGNATURE_PREFIX).lower()
        # All of them are tried, so that the time tells nothing.
        return sum(hmac.compare_digest(_signature(body, token), given) for token in self._tokens) > 0


def _signature(body: bytes, token: Secret) -> str:
    return hmac.new(token.reveal().encode(), body, "sha256").hexdigest()


def _is_token(token: str) -> bool:
    return 0 < len(token) <= MAX_TOKEN_CHARS and token.isascii() and token.isprintable() and " " not in token


def _json(body: bytes) -> Mapping[str, object]:
    try:
        said: object = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise InvalidInput("The body is not a JSON object.")
    return said
