"""What keeps the server from starting, in one sentence for the person who starts it."""

from __future__ import annotations


class StartupError(Exception):
    """The server cannot start; the message is one sentence that says what is wrong and what helps, without a secret."""
