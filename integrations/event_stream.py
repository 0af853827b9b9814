"""Server-Sent Events as AI providers write them: JSON objects, read from the bytes as they arrive.

The SDKs read them too, and build an object of their own for each event, with everything that may ever be in one. For a
stream of tokens that is most of the work, for a field or two that anybody looks at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

EventData: TypeAlias = Mapping[str, Any]  # Any: parsed JSON

# Far more than any event has: a whole answer is told in one at the end of some streams.
MAX_EVENT_BYTES: Final = 64 * 1024 * 1024
# How Chat Completions say that nothing more will come.
_DONE: Final = b"[DONE]"


class EventReader:
    """Makes events of a stream's bytes, however they are cut (HTML Living Standard, 9.2.6); only their data counts."""

    def __init__(self) -> None:
        self._unfinished: list[bytes] = []
        self._unfinished_bytes = 0
        self._data: list[bytes] = []
        self.has_begun = False
        self.is_done = False

    def feed(self, part: bytes) -> Iterator[EventData]:
        """The events that are whole with these bytes. Raises ValueError for what is no JSON object, or has no end."""
        self._unfinished.append(part)
        self._unfinished_bytes += len(part)
        if self._unfinished_bytes > MAX_EVENT_BYTES:
            raise ValueError("an event without an end")
        if b"\n" not in part and b"\r" not in part:
            return
        lines = b"".join(self._unfinished).splitlines(keepends=True)
        # The last line may go on, and what follows a carriage return may belong to it.
        rest = b"" if lines[-1].endswith(b"\n") else lines.pop()
        self._unfinished = [rest]
        for line in lines:
            yield from self._take(line.rstrip(b"\r\n"))
        self._unfinished_bytes = len(rest) + sum(map(len, self._data))

    def _take(self, line: bytes) -> Iterator[EventData]:
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
        elif not line and self._data:
            data, self._data = b"\n".join(self._data), []
            if data.startswith(_DONE):
                self.is_done = True
            elif not self.is_done and data:
                event = json.loads(str(data, "utf-8"))
                if not isinstance(event, dict):
                    raise ValueError("an event that is no object")
                self.has_begun = True
                yield event
