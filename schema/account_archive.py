"""Everything that is a user's as a zip file that is sent while it is made: tables as NDJSON, answers as Markdown."""

from __future__ import annotations

import asyncio
import io
import time
import zipfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import IO, Final

import orjson

from domain.privacy import ANSWERS
from domain.user_directory import Belongings

_CONTENTS: Final = """\
Everything that is yours on this Notion Assistant, without passwords, keys and tokens.

data/     the tables of the database, one row to a line, as JSON; times are UTC
answers/  each prompt with its answer, as Markdown
"""


class _Outlet(io.RawIOBase):
    """Holds what was written until it is taken; a zip file that cannot seek is written from its start to its end."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]  # zipfile writes nothing else
        self._bytes += data
        return len(data)

    def take(self) -> bytes:
        """What has come since the last time."""
        taken = bytes(self._bytes)
        self._bytes.clear()
        return taken


async def archive(tables: Sequence[str], read: Callable[[str], AsyncIterator[Belongings]]) -> AsyncIterator[bytes]:
    """The file's bytes, as they come."""
    outlet = _Outlet()
    with zipfile.ZipFile(outlet, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("CONTENTS.txt", _CONTENTS)
        for table in tables:
            # With a name alone it would be of 1980; the format knows local time only.
            described = zipfile.ZipInfo(f"data/{table}.ndjson", date_time=time.localtime()[:6])
            described.compress_type = zipfile.ZIP_DEFLATED
            with file.open(described, "w", force_zip64=True) as entry:
                async for batch in read(table):
                    await asyncio.to_thread(_write_lines, entry, batch)
                    yield outlet.take()
        async for batch in read(ANSWERS):
            await asyncio.to_thread(_write_documents, file, batch)
            yield outlet.take()
    yield outlet.take()


def _write_lines(entry: IO[bytes], batch: Belongings) -> None:
    for row in batch.rows:
        entry.write(orjson.dumps(dict(row), default=str, option=orjson.OPT_APPEND_NEWLINE))


def _write_documents(file: zipfile.ZipFile, batch: Belongings) -> None:
    for row in batch.rows:
        file.writestr(f"answers/{row['created_at']:%Y-%m-%d}-{row['id']}.md", _document(row))


def _document(row: Mapping[str, object]) -> str:
    facts = "\n".join(f"{name}: {row[name]}" for name in ("id", "created_at", "provider", "model", "status"))
    return f"---\n{facts}\n---\n\n# Prompt\n\n{row['prompt']}\n\n# Answer\n\n{row['generated_content']}\n"
