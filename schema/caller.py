"""Who sends a request: told by its Authorization header or, where the operator allows it, by cookies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, TypeAlias

from starlette.requests import HTTPConnection
from strawberry.http.websocket_origin import is_same_origin, normalize_origin

from domain.account import Client, Viewer
from domain.errors import Forbidden, InvalidInput, Unauthenticated
from domain.origin import is_trustworthy
from domain.secret import Secret
from resolvers.session_cookies import ACCESS_COOKIE, REFRESH_COOKIE, CookieSession

Authenticate: TypeAlias = Callable[[str | None, Client], Awaitable[Viewer | None]]

# No form and no plain link of another site can send a header of this name, and browsers ask leave for it elsewhere.
SESSION_HEADER: Final = "x-session"
_COOKIE: Final = "cookie"
_MAX_USER_AGENT_CHARS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sends a request, and from where.

    `cookies` is there for a request whose sign-in is kept in cookies. Browsers send these unasked, so a dead one
    refuses nothing by itself, or nobody could sign in again: then nobody is signed in, and `refusal` says why.
    """

    viewer: Viewer | None
    client: Client
    cookies: CookieSession | None = None
    refusal: Unauthenticated | None = None


class CookieRules:
    """From which pages cookies are taken: those of this server's own origin, and of the allowed ones."""

    def __init__(self, *, own_origin: str | None, allowed_origins: frozenset[str]) -> None:
        self._own_origin = None if own_origin is None else normalize_origin(own_origin)
        self._allowed_origins = frozenset(normalize_origin(each) for each in allowed_origins) - {None}

    def check(self, origin: str, *, host: str | None) -> None:
        """Raises Forbidden for a page that is not one of these, or that a browser keeps no such cookies for."""
        normal = normalize_origin(origin)
        # The host that was asked for says whose the page is only where the operator has not.
        is_own = is_same_origin(origin, host) if self._own_origin is None else normal == self._own_origin
        if normal is None or not (is_own or normal in self._allowed_origins):
            raise Forbidden("Pages of this origin may not use cookies here; the operator names those that may.")
        if not is_trustworthy(normal):
            raise Forbidden(
                "Browsers keep these cookies for https addresses and for localhost alone: "
                f"use https, or leave out {SESSION_HEADER.title()} and send the access token as a Bearer."
            )


class Callers:
    """The one way from a request to who has sent it; `authenticate` judges every credential, however it has come."""

    def __init__(self, authenticate: Authenticate, *, cookies: CookieRules | None = None) -> None:
        self._authenticate = authenticate
        self._cookies = cookies

    async def of_request(self, request: HTTPConnection) -> Caller:
        """Who sends a request by HTTP. An Authorization header wins: then cookies are neither read nor set.

        Raises Unauthenticated for a bad Authorization, Forbidden for cookies from a foreign page, InvalidInput.
        """
        authorization = request.headers.get("authorization") or None
        rules = None if authorization else self._rules_for(request.headers.get(SESSION_HEADER))
        if rules is None:
            return await self._by_authorization(authorization, client_of(request))
        # No Origin comes with a GET from the same origin; that another's page has not made it, the header says.
        if (origin := request.headers.get("origin")) is not None:
            rules.check(origin, host=request.headers.get("host"))
        return await self._by_cookies(request)

    async def of_socket(self, socket: HTTPConnection, params: Mapping[str, object]) -> Caller:
        """Who opens a WebSocket, by connection_init's params, where browsers can set no headers.

        Any page can send the params, so by cookies the Origin decides, and must be there. Raises the same.
        """
        authorization = _param(params, "authorization")
        if authorization is not None and not isinstance(authorization, str):
            raise Unauthenticated("`Authorization` must read `Bearer <access token>`.")
        rules = None if authorization else self._rules_for(_param(params, SESSION_HEADER))
        if rules is None:
            return await self._by_authorization(authorization, client_of(socket))
        rules.check(socket.headers.get("origin", ""), host=socket.headers.get("host"))
        return await self._by_cookies(socket)

    def _rules_for(self, wish: object) -> CookieRules | None:
        """None for a request that is not about cookies."""
        if not wish:
            return None
        if wish != _COOKIE:
            raise InvalidInput(f"{SESSION_HEADER.title()} can only be `{_COOKIE}`.")
        if self._cookies is None:
            raise InvalidInput(
                "This server keeps no sign-ins in cookies (its COOKIE_SESSIONS is off): "
                f"leave out {SESSION_HEADER.title()} and send the access token as a Bearer."
            )
        return self._cookies

    async def _by_authorization(self, authorization: str | None, client: Client) -> Caller:
        return Caller(viewer=await self._authenticate(authorization, client), client=client)

    async def _by_cookies(self, connection: HTTPConnection) -> Caller:
        client = client_of(connection)
        access, refresh = connection.cookies.get(ACCESS_COOKIE), connection.cookies.get(REFRESH_COOKIE)
        viewer, refusal = None, None
        if access:
            try:
                viewer = await self._authenticate(f"Bearer {access}", client)
            except Unauthenticated as failure:
                refusal = failure
        elif refresh:
            # The browser has dropped it when its time was over.
            refusal = Unauthenticated("The access token has expired; use refreshSession.", expired=True)
        cookies = CookieSession(refresh_token=Secret(refresh) if refresh else None)
        return Caller(viewer=viewer, client=client, cookies=cookies, refusal=refusal)


def client_of(connection: HTTPConnection) -> Client:
    """Where a request or socket comes from."""
    user_agent = connection.headers.get("user-agent")
    return Client(
        ip=None if connection.client is None else _ip_of(connection.client.host),
        user_agent=None if user_agent is None else user_agent[:_MAX_USER_AGENT_CHARS],
    )


def _ip_of(host: str) -> str | None:
    """The address in its one spelling; None for what is none, which a proxy may have passed on."""
    try:
        address = ip_address(host.partition("%")[0])  # a zone means nothing to others, and may be of any length
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)


def _param(params: Mapping[str, object], name: str) -> object | None:
    """A value of connection_init that is not empty, however its name is spelt, in the params or in their `headers`."""
    headers = params.get("headers")
    for place in (params, headers if isinstance(headers, dict) else {}):
        for key, value in place.items():
            if key.lower() == name and value:
                return value
    return None
