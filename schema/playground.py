"""The playground: GraphiQL from our own origin, under a policy that lets nothing else in and nothing out."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        # The editor positions its lines and colours by style attributes.
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS: Final = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class _Assets(StaticFiles):
    """Files whose names change with their content."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response: Response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]  # passed on as given
        response.headers.update({**_HEADERS, "cache-control": "public, max-age=31536000, immutable"})
        return response


def playground_routes(folder: Path) -> list[BaseRoute]:
    """`/` and `/assets`, from the folder that the browser assets were built into."""
    page = folder / "index.html"

    async def playground(_request: Request) -> Response:
        if not page.is_file():
            message = "The playground has not been built: run `make run`, or `npm run build` in web/.\n"
            return PlainTextResponse(message, status_code=503, headers=_HEADERS)
        return FileResponse(page, headers={**_HEADERS, "cache-control": "no-cache"})

    return [
        Route("/", playground, methods=["GET"], name="playground"),
        Mount("/assets", _Assets(directory=folder / "assets", check_dir=False), name="assets"),
    ]
