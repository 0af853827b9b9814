"""How long an AI provider may take, at each stage of an answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTimeouts:
    """Only text and reasoning count: a stream that shows nothing but comments and pings is silent.

    connect_seconds      until the connection stands
    first_token_seconds  from the request to the first characters
    idle_seconds         from characters to the next ones, not counting the reader's own time
    total_seconds        from the request to the end
    """

    connect_seconds: float = 10.0
    first_token_seconds: float = 120.0
    idle_seconds: float = 60.0
    total_seconds: float = 900.0
