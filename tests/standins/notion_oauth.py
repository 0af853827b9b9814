"""The stand-in's authorization server: people who allow access at once, codes, and pairs of tokens that rotate."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from tests.standins.notion_errors import JSON, NotionError

if TYPE_CHECKING:
    from tests.standins.notion_state import Memory, Workspace


@dataclass(slots=True, kw_only=True)
class Grant:
    """What somebody has allowed: the pair of tokens that is good now, and the refresh tokens used before."""

    workspace: Workspace
    access_token: str
    refresh_token: str
    used: set[str] = field(default_factory=set)
    is_revoked: bool = False
    is_expired: bool = False


@dataclass(slots=True, kw_only=True)
class OAuthApp:
    """A public connection as its maker has set it up at Notion."""

    client_id: str
    client_secret: str
    redirect_uri: str
    workspace: Workspace
    # What the person does at Notion's page.
    is_refused: bool = False


class AuthorizationServer:
    """Of one app. `refreshes` counts the pairs that were exchanged; a refresh token that comes twice ends its grant."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._codes: dict[str, str] = {}
        self.app: OAuthApp | None = None
        self.grants: list[Grant] = []
        self.refreshes = 0

    def workspace_of(self, access_token: str) -> Workspace | None:
        """Whom a token speaks for, as long as it is good."""
        for grant in self.grants:
            if grant.access_token == access_token and not grant.is_revoked and not grant.is_expired:
                return grant.workspace
        return None

    def expire_access_tokens(self) -> None:
        """From now on they are answered by 401, until they are refreshed."""
        for grant in self.grants:
            grant.is_expired = True

    def authorize(self, query: Mapping[str, str]) -> str:
        """Where the browser of somebody is sent who has come to Notion's page."""
        app = self._known(query.get("client_id"))
        if query.get("redirect_uri") != app.redirect_uri or query.get("response_type") != "code":
            raise NotionError(400, "invalid_request", "Missing or invalid redirect_uri.")
        if query.get("owner") != "user":
            raise NotionError(400, "invalid_request", "owner should be user.")
        answer = {"state": query["state"]} if "state" in query else {}
        if app.is_refused:
            answer["error"] = "access_denied"
        else:
            code = self._memory.new_id(version=4)
            self._codes[code] = app.redirect_uri
            answer = {"code": code, **answer}
        parts = urlsplit(app.redirect_uri)
        return urlunsplit(parts._replace(query=urlencode([*parse_qsl(parts.query), *answer.items()])))

    def token(self, authorization: str, body: JSON) -> JSON:
        """A pair of tokens for a code or for a refresh token."""
        app = self._authenticated(authorization)
        if body["grant_type"] == "authorization_code":
            redirect_uri = self._codes.pop(body["code"], None)
            if redirect_uri is None or body.get("redirect_uri") != redirect_uri:
                raise NotionError(400, "invalid_grant", "Invalid code: not found, expired or used.")
            grant = Grant(workspace=app.workspace, access_token="", refresh_token="")
            self.grants.append(grant)
        else:
            grant = self._refreshed(body["refresh_token"])
        grant.access_token, grant.refresh_token = self._new_token("ntn_"), self._new_token("nrt_")
        grant.is_expired = False
        return self._answer(grant)

    def revoke(self, authorization: str, body: JSON) -> JSON:
        """Ends a grant."""
        self._authenticated(authorization)
        for grant in self.grants:
            if body["token"] in (grant.access_token, grant.refresh_token):
                grant.is_revoked = True
        return {}

    def _refreshed(self, refresh_token: str) -> Grant:
        for grant in self.grants:
            if refresh_token in grant.used:
                grant.is_revoked = True
            if refresh_token == grant.refresh_token and not grant.is_revoked:
                grant.used.add(refresh_token)
                self.refreshes += 1
                return grant
        raise NotionError(400, "invalid_grant", "OAuth grant revoked.")

    def _known(self, client_id: str | None) -> OAuthApp:
        if self.app is None or client_id != self.app.client_id:
            raise NotionError(400, "invalid_request", "Missing or invalid client_id.")
        return self.app

    def _authenticated(self, authorization: str) -> OAuthApp:
        app = self.app
        wanted = "" if app is None else base64.b64encode(f"{app.client_id}:{app.client_secret}".encode()).decode()
        if app is None or authorization != f"Basic {wanted}":
            raise NotionError(401, "invalid_client", "Client authentication failed.")
        return app

    def _new_token(self, prefix: str) -> str:
        return prefix + (self._memory.new_id() + self._memory.new_id()).replace("-", "")[:46]

    def _answer(self, grant: Grant) -> JSON:
        space = grant.workspace
        return {
            "access_token": grant.access_token,
            "token_type": "bearer",
            "refresh_token": grant.refresh_token,
            "bot_id": space.bot_id,
            "workspace_icon": None,
            "workspace_name": space.name,
            "workspace_id": space.id,
            "owner": {"type": "user", "user": {"object": "user", "id": space.owner_id}},
            "duplicated_template_id": None,
        }
