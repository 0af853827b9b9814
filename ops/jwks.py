"""The public halves of the keys that sign access tokens, for whoever wants to verify one (RFC 7517)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

# Less than a key is published before it signs.
_MAX_AGE_SECONDS: Final = 300


def jwks_route(published: Callable[[], Sequence[Mapping[str, str]]]) -> Route:
    """/.well-known/jwks.json"""
    headers = {"cache-control": f"public, max-age={_MAX_AGE_SECONDS}"}

    async def keys(_request: Request) -> JSONResponse:
        body = {"keys": [dict(key) for key in published()]}
        return JSONResponse(body, headers=headers, media_type="application/jwk-set+json")

    return Route("/.well-known/jwks.json", keys, name="jwks")
