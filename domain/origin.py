"""Origins: what browsers make of the address that a page comes from."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


def is_trustworthy(origin: str) -> bool:
    """Whether browsers keep a cookie marked Secure for it: for https addresses, and for this very machine."""
    parts = urlsplit(origin)
    host = parts.hostname or ""
    if parts.scheme == "https" or host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
