"""Reads the id out of whatever a person copies from Notion: an id, a link to a page, a published site's address."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from domain.errors import InvalidInput

_DASHED: Final = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
# The id ends the last part of a path, alone or after a slug and a dash.
_ID_AT_END: Final = re.compile(rf"(?<![0-9a-f])({_DASHED}|[0-9a-f]{{32}})$", re.IGNORECASE)
_ID: Final = re.compile(rf"{_DASHED}|[0-9a-f]{{32}}", re.IGNORECASE)
_SITES: Final = ("notion.so", "notion.com", "notion.site")
# A page that is open in a side or centre peek is named in the query, before the database behind it in the path.
_PEEK_KEYS: Final = ("p", "page_id")


def notion_id(reference: str) -> str:
    """The id, in small letters with dashes. Raises InvalidInput for what is neither an id nor a Notion address."""
    text = reference.strip()
    if _ID.fullmatch(text):
        return str(UUID(text))
    if "://" not in text and re.match(r"[\w.-]+\.(so|com|site)/", text, re.IGNORECASE):
        text = f"https://{text}"
    try:
        address = urlsplit(text)
        host = address.hostname or ""
    except ValueError:
        raise InvalidInput("This is neither a Notion address nor the id of a page or database.") from None
    if address.scheme not in ("http", "https", "notion") or not _is_notion(host):
        raise InvalidInput("This is neither a Notion address nor the id of a page or database.")
    query = parse_qs(address.query)
    for key in _PEEK_KEYS:
        for value in query.get(key, ()):
            if _ID.fullmatch(value):
                return str(UUID(value))
    for part in reversed(address.path.split("/")):
        found = _ID_AT_END.search(part)
        if found:
            return str(UUID(found[1]))
    raise InvalidInput("This Notion address names no page: open the page in Notion, then ••• → Copy link.")


def _is_notion(host: str) -> bool:
    return any(host == site or host.endswith(f".{site}") for site in _SITES)
