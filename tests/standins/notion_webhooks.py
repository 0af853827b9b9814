"""How Notion sends events: a subscription, its handshake, and signed bodies that come late, twice or forged."""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx

from tests.standins.notion_errors import JSON
from tests.standins.notion_state import Memory, Node, Workspace


@dataclass(slots=True, kw_only=True)
class Subscription:
    """An integration's wish to be told. `verify` with the right token makes it active; before, nothing is sent."""

    memory: Memory
    workspace: Workspace
    url: str
    verification_token: str
    id: str
    is_active: bool = False
    sent: list[JSON] = field(default_factory=list)

    async def shake_hands(self, http: httpx.AsyncClient) -> httpx.Response:
        """Sends the verification token, unsigned, as it is done when the subscription is made."""
        return await http.post(self.url, json={"verification_token": self.verification_token})

    def verify(self, token: str) -> None:
        """What the operator enters in Notion."""
        assert token == self.verification_token, "Notion says: the token is not right"
        self.is_active = True

    def event(self, kind: str, node: Node, *, at: datetime | None = None) -> JSON:
        """An event, such as `page.content_updated`, of what has happened to a page."""
        return {
            "id": self.memory.new_id(version=4),
            "timestamp": (at or datetime.now(UTC)).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "workspace_id": self.workspace.id,
            "workspace_name": self.workspace.name,
            "subscription_id": self.id,
            "integration_id": self.workspace.bot_id,
            "type": kind,
            "authors": [{"id": self.workspace.owner_id, "type": "person"}],
            "accessible_by": [{"id": self.workspace.bot_id, "type": "bot"}],
            "attempt_number": 1,
            "api_version": "2026-03-11",
            "entity": {"id": node.id, "type": node.kind},
            "data": {"parent": {"id": node.parent.id if node.parent else self.workspace.id, "type": "page"}},
        }

    async def send(self, http: httpx.AsyncClient, event: JSON, *, attempt: int = 1) -> httpx.Response:
        """Delivers an event, signed over the very bytes that are sent."""
        assert self.is_active
        body = json.dumps({**event, "attempt_number": attempt}).encode()
        self.sent.append(event)
        return await http.post(self.url, content=body, headers=self.headers(body))

    def headers(self, body: bytes) -> dict[str, str]:
        """What comes with a body."""
        return {"content-type": "application/json", "x-notion-signature": signature(body, self.verification_token)}


def signature(body: bytes, token: str) -> str:
    """As the documentation says: HMAC-SHA256 of the raw body, keyed with the verification token."""
    return "sha256=" + hmac.digest(token.encode(), body, "sha256").hex()


def subscribe(memory: Memory, workspace: Workspace, url: str) -> Subscription:
    """A new subscription of the workspace's integration."""
    token = "secret_" + (memory.new_id() + memory.new_id()).replace("-", "")[:43]
    return Subscription(
        memory=memory, workspace=workspace, url=url, verification_token=token, id=memory.new_id(version=4)
    )
