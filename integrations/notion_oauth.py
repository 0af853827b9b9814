"""Notion's authorization server: codes and refresh tokens for access.

Notion has no PKCE: a code is worth nothing without the client's secret, which travels to Notion alone.
"""

from __future__ import annotations

import asyncio
import json
from typing import Final
from urllib.parse import urlencode

import httpx

from domain.errors import NotionFailed, NotionFailureReason
from domain.notion import NotionWorkspace
from domain.notion_authorization import NotionGrant
from domain.secret import Secret
from integrations import notion_failures as failures
from integrations.notion_answers import reading
from integrations.notion_blocks import Json

DEFAULT_TIMEOUT_SECONDS: Final = 20.0
REVOCATION_TIMEOUT_SECONDS: Final = 5.0
_VERSION: Final = "2026-03-11"
_MAX_ANSWER_BYTES: Final = 100_000


class NotionOAuthAdapter:
    """Implements domain.notion_authorization.NotionOAuth for one client; `aclose` it at the end."""

    def __init__(
        self,
        *,
        base_url: str,
        client_id: str,
        client_secret: Secret,
        redirect_uri: str,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> None:
        self._base_url = f"{base_url.rstrip('/')}/v1/oauth"
        self._client_id = client_id
        self._redirect_uri = redirect_uri
        self._timeout_seconds = timeout_seconds
        self._http = httpx.AsyncClient(
            auth=(client_id, client_secret.reveal()), headers={"notion-version": _VERSION}, timeout=timeout_seconds
        )

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    def authorize_url(self, *, state: str) -> str:
        """See the port."""
        query = {
            "owner": "user",
            "client_id": self._client_id,
            "redirect_uri": self._redirect_uri,
            "response_type": "code",
            "state": state,
        }
        return f"{self._base_url}/authorize?{urlencode(query)}"

    async def exchange(self, code: Secret) -> NotionGrant:
        """See the port."""
        return await self._grant(
            {"grant_type": "authorization_code", "code": code.reveal(), "redirect_uri": self._redirect_uri}
        )

    async def refresh(self, refresh_token: Secret) -> NotionGrant:
        """See the port."""
        return await self._grant({"grant_type": "refresh_token", "refresh_token": refresh_token.reveal()})

    async def revoke(self, token: Secret) -> None:
        """See the port."""
        await self._post("revoke", {"token": token.reveal()}, timeout_seconds=REVOCATION_TIMEOUT_SECONDS)

    async def _grant(self, asked: dict[str, str]) -> NotionGrant:
        said = await self._post("token", asked, timeout_seconds=self._timeout_seconds)
        with reading(writes=True):
            refresh_token = said["refresh_token"]
            return NotionGrant(
                workspace=NotionWorkspace(
                    bot_id=str(said["bot_id"]),
                    workspace_id=str(said["workspace_id"]),
                    workspace_name=str(said["workspace_name"] or "Notion"),
                ),
                access_token=Secret(_token(said["access_token"])),
                refresh_token=None if refresh_token is None else Secret(_token(refresh_token)),
            )

    async def _post(self, path: str, body: dict[str, str], *, timeout_seconds: float) -> Json:
        """One request; every failure leaves as NotionFailed. From None: what went wrong may quote the request."""
        try:
            async with asyncio.timeout(min(timeout_seconds, self._timeout_seconds)):
                answer = await self._http.post(f"{self._base_url}/{path}", json=body)
        except (TimeoutError, httpx.TimeoutException):
            raise failures.timed_out(ambiguous=True) from None
        except httpx.ConnectError:
            raise failures.unreachable(ambiguous=False) from None
        except httpx.HTTPError:
            raise failures.unreachable(ambiguous=True) from None
        if answer.status_code != httpx.codes.OK:
            raise _refused(answer)
        try:
            said: object = json.loads(answer.content[:_MAX_ANSWER_BYTES])
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise failures.malformed(ambiguous=True)
        return said


def _token(said: object) -> str:
    if not isinstance(said, str) or not said.isascii() or not said.isprintable() or not said:
        raise ValueError("this is no token")
    return said


def _refused(answer: httpx.Response) -> NotionFailed:
    """What a refusal means: the person's grant is void, the server's client is not accepted, or Notion is busy."""
    refusal = failures.Refusal.read(answer.status_code, answer.text)
    if refusal.code == "invalid_grant":
        return NotionFailed(
            "Notion does not accept the sign-in any more: connect Notion again.",
            reason=NotionFailureReason.AUTHENTICATION,
            retryable=False,
        )
    if answer.status_code in (httpx.codes.BAD_REQUEST, httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return NotionFailed(
            "Notion does not accept this server's OAuth client: its operator has to compare NOTION_OAUTH_CLIENT_ID, "
            "NOTION_OAUTH_CLIENT_SECRET and the redirect address with what Notion shows for the connection.",
            reason=NotionFailureReason.REJECTED,
            retryable=False,
        )
    return failures.refused(refusal, retry_after=answer.headers.get("retry-after"), writes=True)
