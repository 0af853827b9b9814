"""What administrators have decided for the whole server while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """`maintenance_message` is what people are told while nobody but administrators may start anything; else None."""

    maintenance_message: str | None


class ServerSettingsStore(Protocol):
    """The one set of them."""

    async def get(self) -> ServerSettings:
        """As they are."""

    async def put(self, settings: ServerSettings) -> None:
        """Replaces them."""
