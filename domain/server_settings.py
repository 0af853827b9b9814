"""What administrators have decided for the whole server while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class SignUpPolicy(StrEnum):
    """Who may make an account."""

    OPEN = "OPEN"
    INVITE = "INVITE"
    CLOSED = "CLOSED"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """`maintenance_message` is what people are told while nobody but administrators may start anything; else None.

    `sign_up_policy` is None where nobody has decided, so that the server's configuration counts.
    """

    maintenance_message: str | None = None
    sign_up_policy: SignUpPolicy | None = None


class ServerSettingsStore(Protocol):
    """The one set of them."""

    async def get(self) -> ServerSettings:
        """As they are."""

    async def hold(self) -> ServerSettings:
        """As they are, and stay until the transaction ends; several transactions may hold them."""

    async def lock(self) -> ServerSettings:
        """As they are, and stay until the transaction ends but for what it changes itself: changes take turns."""

    async def put(self, settings: ServerSettings) -> None:
        """Replaces them."""
