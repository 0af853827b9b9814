"""Which addresses of a text that nobody vouches for may become links and images of a page."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from domain.document import ADDRESS_UNITS

_WEB_ADDRESS: Final = re.compile(
    r"https?://(?:[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?\.?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?(?:[/?#][!-~]*)?",
    re.IGNORECASE,
)


def is_web_address(address: str) -> bool:
    """Whether Notion takes an address for a link: one that it refuses would fail the whole request.

    It refuses every scheme but http and https, mailto included. Signing in by an address (`user@host`) is left out
    because it serves to disguise where a link leads.
    """
    return len(address) <= ADDRESS_UNITS and _WEB_ADDRESS.fullmatch(address) is not None


def is_image_address(address: str, *, hosts: frozenset[str]) -> bool:
    """Whether a page may load a image from there: loading tells that host who reads the page, and when."""
    if not hosts or not is_web_address(address):
        return False
    host = urlsplit(address).hostname or ""
    labels = host.split(".")
    return host in hosts or any(f"*.{'.'.join(labels[start:])}" in hosts for start in range(1, len(labels)))


def shown_address(address: str) -> str:
    """An address that cannot be a link, as the text that stands in for it; empty if it means nothing to a reader."""
    if address.startswith("#") or address[:5].lower() == "data:":
        return ""
    return address[7:] if address[:7].lower() == "mailto:" else address
