"""A stand-in for Notion's API: remembers what is written, refuses what Notion refuses, and fails when it is told to."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import ClassVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.standins import notion_errors as errors
from tests.standins import notion_rules as rules
from tests.standins.notion_api import OPERATIONS, Call, Capability, Handler, checked_id
from tests.standins.notion_content import stored_rich_text, text
from tests.standins.notion_errors import JSON, NotionError
from tests.standins.notion_faults import Fault, FaultKind, Faults
from tests.standins.notion_hand import Hand
from tests.standins.notion_oauth import AuthorizationServer, OAuthApp
from tests.standins.notion_properties import PAGE_SCHEMA, definitions, stored_values
from tests.standins.notion_schema import VERSIONS, request_complaint
from tests.standins.notion_state import Memory, Node, Workspace, address, block_answer
from tests.standins.server import MAX_RECORDED_REQUESTS, RecordedRequest

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
# A whole number of seconds that Notion may ask to wait for the limit of a connection.
_RATE_WINDOW = timedelta(seconds=60)
_RELEASE_POLL_SECONDS = 0.01


class NotionStandin:
    """One Notion for one test.

    `add_workspace` gives a connection (its token is `workspace.token`), `add_page` and `add_database` something to
    write to; `page`, `children_tree` and `requests` show what was written and asked; `enqueue` orders failures and
    `draw_faults` leaves them to chance. With `requests_per_minute` the connection's rate limit is kept.
    """

    base_path: ClassVar[str] = ""

    def __init__(
        self,
        *,
        seed: int = 0,
        clock: Callable[[], datetime] | None = None,
        requests_per_minute: int | None = None,
    ) -> None:
        self.requests: list[RecordedRequest] = []
        self.memory = Memory(seed=seed, clock=clock)
        self.oauth = AuthorizationServer(self.memory)
        self._faults = Faults()
        self._requests_per_minute = requests_per_minute
        self._recent: dict[str, deque[datetime]] = {}
        self.app: ASGIApp = Starlette(
            routes=[
                *(
                    Route(path, self._endpoint(partial(self._answer, path, handler, capability)), methods=[method])
                    for (method, path), (handler, capability) in OPERATIONS.items()
                ),
                Route("/v1/oauth/authorize", self._authorize, methods=["GET"]),
                *(
                    Route(path, self._endpoint(partial(self._authorization_answer, path)), methods=["POST"])
                    for path in ("/v1/oauth/token", "/v1/oauth/revoke")
                ),
                Route("/{path:path}", self._nowhere, methods=_METHODS),
            ]
        )

    # What tests arrange.

    def add_workspace(
        self, name: str = "Acme", *, token: str | None = None, integration: str = "Notion Assistant"
    ) -> Workspace:
        """A workspace with an integration connected to it; nothing is shared with it yet."""
        new_id = self.memory.new_id
        workspace = Workspace(
            id=new_id(version=4),
            name=name,
            token=token or "ntn_" + (new_id() + new_id()).replace("-", "")[:46],
            bot_id=new_id(version=4),
            integration=integration,
            owner_id=new_id(version=4),
        )
        self.memory.workspaces.append(workspace)
        return workspace

    def add_page(
        self,
        title: str = "Notes",
        *,
        workspace: Workspace | None = None,
        parent: Node | None = None,
        shared: bool = True,
        page_id: str | None = None,
    ) -> Node:
        """A page that the workspace's owner has made, at the top or under a page or in a data source."""
        space = self._workspace_of(workspace, parent)
        schema = parent.properties if parent is not None and parent.kind == "data_source" else PAGE_SCHEMA
        page = self.memory.add_page(
            workspace=space,
            parent=parent,
            values=stored_values({"title": text(title)}, schema),
            by=space.owner_id,
            node_id=page_id,
        )
        page.shared = shared
        return page

    def add_database(
        self,
        title: str = "Answers",
        properties: Mapping[str, str | JSON] | None = None,
        *,
        workspace: Workspace | None = None,
        parent: Node | None = None,
        shared: bool = True,
        database_id: str | None = None,
        data_source_id: str | None = None,
    ) -> Node:
        """A database with one data source; `properties` as in notion_properties.definitions. See `data_source`."""
        space = self._workspace_of(workspace, parent)
        database = self.memory.add(
            "database",
            workspace=space,
            parent=parent,
            node_type="child_database",
            by=space.owner_id,
            node_id=database_id,
        )
        database.shared = shared
        database.title = stored_rich_text(text(title))
        self.add_data_source(database, title, properties, data_source_id=data_source_id)
        return database

    def add_data_source(
        self,
        database: Node,
        title: str,
        properties: Mapping[str, str | JSON] | None = None,
        *,
        data_source_id: str | None = None,
    ) -> Node:
        """One more data source in a database."""
        source = self.memory.add(
            "data_source",
            workspace=database.workspace,
            parent=database,
            node_type="data_source",
            by=database.workspace.owner_id,
            node_id=data_source_id,
        )
        source.title = stored_rich_text(text(title))
        source.properties = definitions(properties or {"Name": "title"})
        return source

    def hand(self, workspace: Workspace | None = None) -> Hand:
        """The workspace's owner, at work in Notion."""
        return Hand(self.memory, (workspace or self.memory.workspaces[0]).owner_id)

    def add_oauth_app(self, *, redirect_uri: str, workspace: Workspace | None = None) -> OAuthApp:
        """A public connection, which people of the workspace allow access to theirs; its tokens see what is shared."""
        self.oauth.app = OAuthApp(
            client_id=self.memory.new_id(version=4),
            client_secret="secret_" + self.memory.new_id().replace("-", ""),
            redirect_uri=redirect_uri,
            workspace=self._workspace_of(workspace, None),
        )
        return self.oauth.app

    def enqueue(self, *faults: Fault) -> None:
        """Each fault meets the first request that it is meant for."""
        self._faults.add(*faults)

    @property
    def waiting_faults(self) -> tuple[Fault, ...]:
        """Faults that no request has met yet."""
        return self._faults.waiting

    def draw_faults(self, *chances: tuple[float, Fault], seed: int) -> None:
        """Every request may fail from now on, each fault with its probability; none to stop it."""
        self._faults.draw(*chances, seed=seed)

    # What tests look at.

    def data_source(self, database: Node, place: int = 0) -> Node:
        """A database's data source."""
        return database.children[place]

    def page(self, page_id: str) -> Node:
        """A page, whoever may see it."""
        node = self.memory.nodes[page_id]
        assert node.kind == "page"
        return node

    def pages_under(self, parent: Node) -> list[Node]:
        """The pages in a page or a data source, trash left out, oldest first."""
        return [child for child in parent.live_children if child.kind == "page"]

    def address(self, node: Node) -> str:
        """The URL that Notion shows for it."""
        return address(node)

    def children_tree(self, node_id: str) -> list[JSON]:
        """The blocks under a page or a block as they would be answered, each with its own under `children`."""
        tree: list[JSON] = []
        for child in self.memory.nodes[node_id].live_children:
            block = block_answer(child)
            if child.kind == "block" and child.live_children:
                block[child.type]["children"] = self.children_tree(child.id)
            tree.append(block)
        return tree

    def _workspace_of(self, workspace: Workspace | None, parent: Node | None) -> Workspace:
        """The workspace asked for, or the parent's, or the first one, or a new one."""
        if workspace is None and parent is not None:
            return parent.workspace
        return workspace or next(iter(self.memory.workspaces), None) or self.add_workspace()

    # How requests are answered.

    def _endpoint(self, answer_of: Callable[[Request, bytes, JSON], JSON]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            raw = await self._record(request)
            fault = self._faults.next(request.method, request.url.path)
            committed: JSON = {}
            answer: JSON | NotionError | None = None
            if fault is not None and fault.kind is FaultKind.LOST and fault.outlives_client:
                return _Broken(reset=True, afterwards=partial(self._late, fault, partial(answer_of, request, raw, {})))
            if fault is not None and fault.kind is FaultKind.DELAYED and not fault.applied:
                if not await _outlasts(request, fault):
                    return Response()
                fault = None
            if fault is None or fault.applied:
                try:
                    answer = answer_of(request, raw, committed)
                except NotionError as error:
                    answer = error
            if fault is None or isinstance(answer, NotionError):
                return self._response(answer)
            return await self._failure(request, fault, answer, committed)

        return endpoint

    async def _authorize(self, request: Request) -> Response:
        await self._record(request)
        try:
            return RedirectResponse(self.oauth.authorize(request.query_params))
        except NotionError as error:
            return self._response(error)

    def _authorization_answer(self, path: str, request: Request, raw: bytes, _committed: JSON) -> JSON:
        version = request.headers.get("notion-version", "")
        if version not in VERSIONS:
            raise errors.missing_version()
        body = _checked_body("POST", path, raw, version)
        authorization = request.headers.get("authorization", "")
        act = self.oauth.token if path.endswith("/token") else self.oauth.revoke
        return act(authorization, body)

    def _answer(
        self, path: str, handler: Handler, capability: Capability, request: Request, raw: bytes, committed: JSON
    ) -> JSON:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        connected = self.memory.connection(token) or self.oauth.workspace_of(token)
        workspace = connected if scheme == "Bearer" else None
        if workspace is None:
            raise errors.unauthorized()
        self._check_rate(workspace)
        version = request.headers.get("notion-version")
        if version is None:
            raise errors.missing_version()
        if version not in VERSIONS:
            listed = " or ".join(f"`{json.dumps(known)}`" for known in VERSIONS)
            raise errors.invalid(
                f"Notion-Version header failed validation: Notion-Version header should be {listed}, instead was "
                f"{errors.shown(version)}."
            )
        if not getattr(workspace, f"can_{capability}"):
            raise errors.restricted()
        for name, value in request.path_params.items():
            if name != "property_id":
                checked_id(f"path.{name}", value)
        body = _checked_body(request.method, path, raw, version)
        call = Call(
            memory=self.memory,
            workspace=workspace,
            version=version,
            path=request.path_params,
            query=request.query_params,
            body=body,
            committed=committed,
        )
        return handler(call)

    def _check_rate(self, workspace: Workspace) -> None:
        if self._requests_per_minute is None:
            return
        now = datetime.now(UTC)
        recent = self._recent.setdefault(workspace.token, deque())
        while recent and now - recent[0] > _RATE_WINDOW:
            recent.popleft()
        if len(recent) >= self._requests_per_minute:
            wait = recent[0] + _RATE_WINDOW - now
            raise errors.rate_limited(
                retry_after_seconds=max(1, -(-wait // timedelta(seconds=1))), reason="public_api_request_rate_limit"
            )
        recent.append(now)

    async def _failure(self, request: Request, fault: Fault, answer: JSON | None, committed: JSON) -> Response:
        error = fault.error(committed)
        if error is not None:
            return self._response(error)
        match fault.kind:
            case FaultKind.LOST:
                return _Broken(reset=True)
            case FaultKind.TRUNCATED:
                return _Broken(reset=False, sent=json.dumps(answer).encode()[:40])
            case FaultKind.GARBLED:
                return Response("<!doctype html><title>Notion</title>", media_type="text/html")
            case FaultKind.DELAYED:
                await _outlasts(request, fault)
                return self._response(answer)
            case _:
                return HTMLResponse("<html><head><title>502 Bad Gateway</title></head></html>", 502)

    async def _late(self, fault: Fault, answer: Callable[[], JSON]) -> None:
        """What a request comes to whose client learns nothing of it."""
        await _waited(fault)
        with suppress(NotionError):
            answer()

    def _response(self, answer: JSON | NotionError | None) -> Response:
        request_id = self.memory.new_id(version=4)
        headers = {"x-notion-request-id": request_id}
        if isinstance(answer, NotionError):
            return JSONResponse(answer.body(request_id=request_id), answer.status, {**headers, **answer.headers})
        assert answer is not None
        return JSONResponse({**answer, "request_id": request_id}, headers=headers)

    async def _nowhere(self, request: Request) -> Response:
        await self._record(request)
        return self._response(errors.unknown_url())

    async def _record(self, request: Request) -> bytes:
        raw = await request.body()
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        record = RecordedRequest(
            method=request.method,
            path=request.url.path,
            query=dict(request.query_params),
            headers=dict(request.headers),
            raw=raw,
            body=body if isinstance(body, dict) else None,
        )
        del self.requests[: len(self.requests) - MAX_RECORDED_REQUESTS + 1]
        self.requests.append(record)
        return raw


def _checked_body(method: str, path: str, raw: bytes, version: str) -> JSON:
    """A request's body, after the OpenAPI and the size limit have had their say."""
    rules.check_body_size(raw)
    if method in ("GET", "DELETE"):
        return {}
    try:
        body = json.loads(raw)
    except ValueError:
        raise errors.invalid_json() from None
    complaint = request_complaint(method, path, body, version=version)
    if complaint is not None:
        raise errors.invalid_body(complaint)
    assert isinstance(body, dict)
    return body


async def _outlasts(request: Request, fault: Fault) -> bool:
    """Waits; False when the client has gone before the end, and the request with it."""
    if fault.outlives_client:
        await _waited(fault)
        return True
    gone = asyncio.ensure_future(request.receive())
    try:
        if fault.released is None:
            await asyncio.wait({gone}, timeout=fault.delay_seconds)
        else:
            while not fault.released.is_set() and not gone.done():
                await asyncio.wait({gone}, timeout=_RELEASE_POLL_SECONDS)
        return not gone.done()
    finally:
        gone.cancel()


async def _waited(fault: Fault) -> None:
    if fault.released is None:
        await asyncio.sleep(fault.delay_seconds)
        return
    while not fault.released.is_set():  # noqa: ASYNC110  (any thread may set it)
        await asyncio.sleep(_RELEASE_POLL_SECONDS)


class _Broken(Response):
    """An answer that the connection does not survive; something may go on `afterwards`."""

    def __init__(
        self, *, reset: bool, sent: bytes = b"", afterwards: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        super().__init__()
        self._reset = reset
        self._sent = sent
        self._afterwards = afterwards

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._sent:
            headers = [(b"content-type", b"application/json"), (b"content-length", b"100000")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": self._sent, "more_body": True})
        scope["standin.drop"](reset=self._reset)
        if self._afterwards is not None:
            await self._afterwards()


def demo_notion() -> NotionStandin:
    """A Notion for trials by hand: one connection, one shared page, one shared database; prints how to reach them."""
    standin = NotionStandin()
    workspace = standin.add_workspace("Demo", token="ntn_demo00000000000000000000000000000000000000000")
    page = standin.add_page("Inbox")
    database = standin.add_database(
        "Answers", {"Name": "title", "Model": "select", "Tags": "multi_select", "Link": "url"}
    )
    print(f"Notion's token     {workspace.token}", flush=True)
    print(f"Notion's page      {standin.address(page)}", flush=True)
    print(f"Notion's database  {standin.address(database)}", flush=True)
    return standin
