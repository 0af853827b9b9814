"""Where Notion sends people back to after they have allowed access, or have not."""

from __future__ import annotations

import base64
import hashlib
from datetime import timedelta
from html import escape
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from domain.errors import AssistantError, ErrorCode
from domain.notion_authorization_service import FinishedAuthorization, NotionAuthorizationService
from domain.secret import Secret
from resolvers.notion import BROWSER_COOKIE, CALLBACK_PATH, browser_cookie
from schema.caller import client_of
from schema.errors import failure_body

_STYLE: Final = (
    ":root{color-scheme:light dark}"
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:20vh auto 0;padding:0 1.5rem}"
)
_PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>{style}</style>
<h1>{title}</h1>
<p>{sentence}</p>
</html>
"""
_STATUS_OF_CODE: Final = {
    ErrorCode.INVALID_INPUT: HTTPStatus.BAD_REQUEST,
    ErrorCode.NOTION_FAILED: HTTPStatus.BAD_GATEWAY,
    ErrorCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}


def notion_callback_route(authorizations: NotionAuthorizationService) -> Route:
    """The redirect address that this server has at Notion."""

    async def callback(request: Request) -> Response:
        if request.method != "GET":
            # Starlette adds HEAD by itself, and who only looks must not use the state up.
            return _headed(Response(status_code=HTTPStatus.METHOD_NOT_ALLOWED, headers={"allow": "GET"}))
        try:
            finished = await _finish(authorizations, request)
            response = _finished(finished)
        except AssistantError as failure:
            response = _failed(failure)
        except Exception as error:  # noqa: BLE001  (masked and logged as everywhere; a person expects a page even now)
            masked = failure_body(error)
            response = _page("Notion was not connected", str(masked["message"]), HTTPStatus.INTERNAL_SERVER_ERROR)
        forgotten = browser_cookie(Secret(""), ttl=timedelta(0), is_secure=authorizations.is_secure)
        response.headers.append("set-cookie", forgotten)
        return _headed(response)

    return Route(CALLBACK_PATH, callback, methods=["GET"], name="notion-callback")


async def _finish(authorizations: NotionAuthorizationService, request: Request) -> FinishedAuthorization:
    query = request.query_params
    return await authorizations.finish(
        state=Secret(query.get("state", "")),
        browser=Secret(request.cookies.get(BROWSER_COOKIE, "")),
        code=Secret(query["code"]) if query.get("code") else None,
        client=client_of(request),
    )


def _finished(finished: FinishedAuthorization) -> Response:
    if finished.return_to is not None:
        return RedirectResponse(finished.return_to, status_code=HTTPStatus.SEE_OTHER)
    if finished.failure is not None:
        return _failed(finished.failure)
    name = "" if finished.connection is None else f" “{finished.connection.workspace_name}”"
    return _page("Notion is connected", f"The workspace{name} is connected. You can close this page.", HTTPStatus.OK)


def _failed(failure: AssistantError) -> Response:
    status = _STATUS_OF_CODE.get(failure.code, HTTPStatus.BAD_REQUEST)
    return _page("Notion was not connected", failure.message, status)


def _page(title: str, sentence: str, status: HTTPStatus) -> Response:
    text = _PAGE.format(title=escape(title), style=_STYLE, sentence=escape(sentence))
    return HTMLResponse(text, status_code=int(status))


def _headed(response: Response) -> Response:
    """Nothing may run in the page, frame it, keep it, or learn its address, which holds a code."""
    style = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    response.headers.update(
        {
            "content-security-policy": (
                f"default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; "
                "frame-ancestors 'none'"
            ),
            "cache-control": "no-store",
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
            "cross-origin-opener-policy": "same-origin",
        }
    )
    return response
