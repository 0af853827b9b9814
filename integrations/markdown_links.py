"""Which addresses of a text that nobody vouches for may become links and images of a page."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Final
from urllib.parse import urlsplit

from domain.document import ADDRESS_UNITS

_WEB_ADDRESS: Final = re.compile(
    r"https?://(?:([a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?)\.?|\[([0-9a-f:.]+)\])(?::([0-9]{1,5}))?(?:[/?#][!-~]*)?",
    re.IGNORECASE,
)
_LABEL_CHARS: Final = 63
_LAST_PORT: Final = 65_535
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)


def is_web_address(address: str) -> bool:
    """Whether Notion takes an address for a link: one that it refuses would fail the whole request.

    It refuses every scheme but http and https, mailto included. Signing in by an address (`user@host`) is left out
    because it serves to disguise where a link leads, and so are other spellings of IP addresses than the usual.
    """
    match = _WEB_ADDRESS.fullmatch(address) if len(address) <= ADDRESS_UNITS else None
    if match is None:
        return False
    name, ip_v6, port = match.groups()
    if port is not None and int(port) > _LAST_PORT:
        return False
    return _is_name(name) if ip_v6 is None else _is_ip(ip_v6, IPv6Address)


def _is_name(host: str) -> bool:
    """Whether parsers of addresses take the host: one that ends in a number is an IP address, or nothing."""
    if _NUMBER.fullmatch(host, host.rfind(".") + 1):
        return _is_ip(host, IPv4Address)
    return "xn--" not in host.lower() or all(map(_is_label, host.lower().split(".")))


def _is_ip(host: str, kind: type[IPv4Address | IPv6Address]) -> bool:
    try:
        kind(host)
    except ValueError:
        return False
    return True


def _is_label(label: str) -> bool:
    """Whether a label that is said to stand for other than ASCII characters does."""
    if not label.startswith("xn--"):
        return True
    try:
        return len(label) <= _LABEL_CHARS and not label[4:].encode().decode("punycode").isascii()
    except UnicodeError:
        return False


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
