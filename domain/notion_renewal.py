"""Renews a connection's tokens when Notion rejects the one in use: once, however many instances notice it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from uuid import UUID

from domain.cipher import Cipher
from domain.errors import NotionFailed, NotionFailureReason, Unavailable
from domain.notion import NotionConnection
from domain.notion_authorization import NotionGrant, NotionOAuth
from domain.notion_tokens import open_access, open_refresh, seal_tokens
from domain.secret import Secret
from domain.store import Store

_log = logging.getLogger(__name__)

# Longer than Notion may take to answer and the store to take the answer in.
CLAIM = timedelta(seconds=90)
POLL_SECONDS = 0.2
_STORING_TRIES = 10
_STORING_PAUSE_SECONDS = 1.0


class NotionRenewal:
    """Exchanges refresh tokens.

    Notion voids a refresh token when it is used, and may take the whole grant back when one is used twice. So whoever
    renews claims it first, in the connection's locked row; the others wait for the tokens that come of it. The claim
    is no open transaction, for Notion may take its time; it ends by itself when its owner dies.

    When the answer is lost, nobody can tell whether Notion has exchanged the token. The next one who needs access uses
    it again: if Notion has not, that renews the tokens; if it has, they are gone, and Notion's refusal says so. From
    then on the connection is rejected and Notion not asked again: only the person can help, by connecting once more.
    """

    def __init__(
        self, *, store: Store, oauth: NotionOAuth | None, cipher: Cipher, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._oauth = oauth
        self._cipher = cipher
        self._clock = clock

    async def renew(self, user_id: UUID, connection_id: UUID, rejected: Secret) -> Secret | None:
        """The token in place of one that Notion has rejected; None when only connecting again helps."""
        while True:
            now = self._clock()
            async with self._store.begin() as tx:
                found = await tx.notion_connections.find_for_renewal(user_id)
                if found is None or found[0].id != connection_id:
                    return None
                connection, sealed, claimed_until = found
                access = open_access(self._cipher, connection, sealed)
                if access != rejected:
                    return access
                if self._oauth is None and sealed.refresh is not None:  # once it is configured again, it helps
                    return None
                if (
                    connection.rejected_at is not None
                ):  # the refresh token is void too; asking once more changes nothing
                    return None
                if sealed.refresh is None or self._oauth is None:
                    await tx.notion_connections.end_renewal(connection_id, rejected_at=now)
                    return None
                is_mine = claimed_until is None or claimed_until <= now
                if is_mine:
                    await tx.notion_connections.claim_renewal(connection_id, until=now + CLAIM)
            if is_mine:
                refresh_token = open_refresh(self._cipher, connection, sealed.refresh)
                return await self._exchange_to_the_end(self._oauth, connection, refresh_token)
            await asyncio.sleep(POLL_SECONDS)

    async def _exchange_to_the_end(
        self, oauth: NotionOAuth, connection: NotionConnection, refresh_token: Secret
    ) -> Secret | None:
        """Also when whoever asked has gone: an answer that nobody keeps would be the end of the connection."""
        exchange = asyncio.ensure_future(self._exchange(oauth, connection, refresh_token))
        try:
            return await asyncio.shield(exchange)
        except asyncio.CancelledError:
            # Bounded by the time that Notion and the store may take.
            await asyncio.wait({exchange})
            if not exchange.cancelled() and exchange.exception() is not None:
                _log.warning("notion_token_not_renewed")
            raise

    async def _exchange(self, oauth: NotionOAuth, connection: NotionConnection, refresh_token: Secret) -> Secret | None:
        try:
            grant = await oauth.refresh(refresh_token)
        except NotionFailed as failed:
            is_over = failed.reason is NotionFailureReason.AUTHENTICATION
            async with self._store.begin() as tx:
                await tx.notion_connections.end_renewal(connection.id, rejected_at=self._clock() if is_over else None)
            _log.info("notion_token_not_renewed", extra={"reason": failed.reason.value})
            if is_over:
                return None
            raise
        return await self._keep(connection, grant, refresh_token)

    async def _keep(self, connection: NotionConnection, grant: NotionGrant, used: Secret) -> Secret | None:
        """Both tokens in one transaction; tried for a while, since the old ones are void already."""
        sealed = seal_tokens(
            self._cipher,
            user_id=connection.user_id,
            connection_id=connection.id,
            access=grant.access_token,
            refresh=grant.refresh_token or used,
        )
        for attempt in range(_STORING_TRIES):
            if attempt:
                await asyncio.sleep(_STORING_PAUSE_SECONDS)
            with suppress(Unavailable):
                async with self._store.begin() as tx:
                    is_there = await tx.notion_connections.replace_tokens(connection.id, sealed=sealed)
                _log.info("notion_token_renewed")
                return grant.access_token if is_there else None
        _log.error("notion_tokens_lost")
        raise Unavailable("Notion's new tokens could not be stored; connect Notion again.")
