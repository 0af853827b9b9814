"""Connecting Notion by OAuth: sending a person there, and taking them back."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from domain.account import Client, Viewer
from domain.errors import AssistantError, InvalidInput, NotionFailed, NotionFailureReason, Unavailable
from domain.notion import NotionConnection
from domain.notion_authorization import NotionAuthorization, NotionOAuth
from domain.notion_service import NotionService
from domain.secret import Secret
from domain.store import Store
from domain.text import checked_text

AUTHORIZATION_TTL = timedelta(minutes=10)
MAX_ADDRESS_CHARS = 2_000
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedAuthorization:
    """Where the person goes now. `browser` is to be kept by their browser alone, and shown again at the end."""

    url: str
    browser: Secret
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedAuthorization:
    """The connection, or why there is none; and where the person wanted to be taken then."""

    connection: NotionConnection | None
    failure: AssistantError | None
    return_to: str | None


class NotionAuthorizationService:
    """The way to Notion and back.

    The state names a sign-in of a person, and the browser that was sent holds a secret of its own: without both, a link
    that somebody else has begun would connect the workspace of whoever follows it to somebody else's account.
    """

    def __init__(
        self,
        *,
        store: Store,
        oauth: NotionOAuth | None,
        connections: NotionService,
        origin: str,
        other_origins: frozenset[str],
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._oauth = oauth
        self._connections = connections
        # Where a person may be taken in the end: our own pages, and those that may call this server.
        self._origins = other_origins | {origin}
        # Whether browsers reach this server by TLS, so that what they hold for it must not travel in the clear.
        self.is_secure = origin.startswith("https://")
        self._clock = clock

    @property
    def is_offered(self) -> bool:
        """Whether this server is set up for it."""
        return self._oauth is not None

    async def start(self, viewer: Viewer, *, return_to: str | None) -> StartedAuthorization:
        """Begins, for this sign-in and one browser. Raises Unavailable when the server is not set up for it."""
        oauth = self._offered()
        if return_to is not None:
            self._check_address(return_to)
        state, browser = Secret(secrets.token_urlsafe(_SECRET_BYTES)), Secret(secrets.token_urlsafe(_SECRET_BYTES))
        now = self._clock()
        authorization = NotionAuthorization(
            state_hash=_hash_of(state),
            browser_hash=_hash_of(browser),
            user_id=viewer.user.id,
            session_id=viewer.require_session(),
            return_to=return_to,
            expires_at=now + AUTHORIZATION_TTL,
        )
        async with self._store.begin() as tx:
            await tx.notion_authorizations.put(authorization, now=now)
        return StartedAuthorization(
            url=oauth.authorize_url(state=state.reveal()), browser=browser, expires_at=authorization.expires_at
        )

    async def finish(
        self, *, state: Secret, browser: Secret, code: Secret | None, client: Client
    ) -> FinishedAuthorization:
        """Takes somebody back from Notion, once; without a code they have refused, or Notion has.

        Raises InvalidInput for a state that is unknown, used, too old, or of another browser or an ended sign-in.
        """
        oauth = self._offered()
        now = self._clock()
        async with self._store.begin() as tx:
            taken = await tx.notion_authorizations.take(state_hash=_hash_of(state), browser_hash=_hash_of(browser))
            found = None if taken is None else await tx.sessions.find_viewer(taken.session_id, now=now)
        if taken is None or found is None or taken.expires_at <= now:
            raise InvalidInput(
                "This sign-in at Notion was begun too long ago, in another browser, or is finished already. "
                "Begin again in the application."
            )
        try:
            viewer = Viewer(user=found[0], session_id=taken.session_id, authenticated_until=None)
            connection = await self._connect(oauth, viewer, code, client)
        except (NotionFailed, InvalidInput, Unavailable) as failure:
            return FinishedAuthorization(
                connection=None, failure=failure, return_to=_with_outcome(taken.return_to, "failed")
            )
        return FinishedAuthorization(
            connection=connection, failure=None, return_to=_with_outcome(taken.return_to, "connected")
        )

    async def _connect(
        self, oauth: NotionOAuth, viewer: Viewer, code: Secret | None, client: Client
    ) -> NotionConnection:
        if code is None:
            raise InvalidInput("Notion was not connected: access was not allowed. Nothing has changed.")
        try:
            grant = await oauth.exchange(code)
        except NotionFailed as failed:
            if failed.reason is NotionFailureReason.AUTHENTICATION:
                failed.message = "Notion did not accept the sign-in. Begin again in the application."
            raise
        return await self._connections.adopt(viewer, grant, client=client)

    def _offered(self) -> NotionOAuth:
        if self._oauth is None:
            raise Unavailable(
                "This server is not set up to sign in at Notion: its operator has to set NOTION_OAUTH_CLIENT_ID and "
                "NOTION_OAUTH_CLIENT_SECRET. Until then connect with an integration token, by connectNotion."
            )
        return self._oauth

    def _check_address(self, address: str) -> None:
        field = ("returnTo",)
        checked_text(address, field=field, max_chars=MAX_ADDRESS_CHARS)
        try:
            parts = urlsplit(address)
            origin = f"{parts.scheme}://{parts.netloc}".lower()
        except ValueError:
            origin = ""
        if origin not in self._origins or "\\" in address or not address.isascii() or not address.isprintable():
            raise InvalidInput(
                "People can be taken back to pages of this server and of ALLOWED_ORIGINS only, by a whole address.",
                field=field,
            )


def _with_outcome(return_to: str | None, outcome: str) -> str | None:
    if return_to is None:
        return None
    parts = urlsplit(return_to)
    query = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != "notion"]
    return urlunsplit(parts._replace(query=urlencode([*query, ("notion", outcome)])))


def _hash_of(secret: Secret) -> bytes:
    return hashlib.sha256(secret.reveal().encode("utf-8", "surrogatepass")).digest()
