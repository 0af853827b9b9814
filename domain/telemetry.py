"""The port that counts what happens, for whoever watches the server."""

from __future__ import annotations

from typing import Protocol


class Telemetry(Protocol):
    """Told of events; never fails, never waits, never sees a text."""

    def generation_started(self, provider: str) -> None:
        """A run has begun."""

    def first_token_received(self, provider: str, *, seconds: float) -> None:
        """A run has shown its first character, this long after its start."""

    def tokens_used(self, provider: str, *, input_tokens: int, output_tokens: int) -> None:
        """A run was billed for these."""

    def generation_finished(self, provider: str, *, status: str, seconds: float) -> None:
        """A run has ended."""

    def publication_finished(self, status: str) -> None:
        """An attempt to publish has come to this status."""
