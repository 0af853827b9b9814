"""Asks the stand-in for Notion over plain HTTP, and the content that such questions are made of."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from tests.standins.notion import NotionStandin
from tests.standins.notion_errors import JSON
from tests.standins.notion_schema import NEWEST_VERSION

# Recorded traffic and what Notion's documentation says of refusals.
DATA = Path(__file__).parent / "data"


class NotionProbe:
    """One connection's view of a served stand-in, over plain HTTP."""

    def __init__(self, standin: NotionStandin, base_url: str, http: httpx.AsyncClient) -> None:
        self.standin = standin
        self.base_url = base_url
        self.workspace = standin.add_workspace("notion-sdk-py", integration="notion-sdk-py")
        self._http = http

    async def send(
        self,
        method: str,
        uri: str,
        body: object = None,
        *,
        version: str | None = NEWEST_VERSION,
        token: str | None = None,
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token or self.workspace.token}"}
        if version is not None:
            headers["Notion-Version"] = version
        content = None if body is None else json.dumps(body)
        return await self._http.request(method, self.base_url + uri, content=content, headers=headers)

    async def refusal(self, method: str, uri: str, body: object = None, *, version: str | None = NEWEST_VERSION) -> str:
        """The message of a request that must fail with 400 and change nothing."""
        before = len(self.standin.memory.nodes)
        response = await self.send(method, uri, body, version=version)
        assert response.status_code == 400
        assert len(self.standin.memory.nodes) == before
        answer = response.json()
        assert set(answer) - {"additional_data"} == {"object", "status", "code", "message", "request_id"}
        return str(answer["message"])


def paragraph(words: str, **more: object) -> JSON:
    """A paragraph as a request says it; `more` are further keys, such as `children`."""
    return {"type": "paragraph", "paragraph": {"rich_text": [{"type": "text", "text": {"content": words}}], **more}}


TEXT: list[JSON] = [{"type": "text", "text": {"content": "words", "link": {"url": "https://example.com/"}}}]
EVERY_BLOCK: list[JSON] = [
    *({kind: {"rich_text": TEXT}} for kind in ("paragraph", "quote", "toggle", "bulleted_list_item")),
    *({kind: {"rich_text": TEXT}} for kind in ("heading_1", "heading_2", "heading_3", "heading_4")),
    {"numbered_list_item": {"rich_text": TEXT, "children": [paragraph("deeper", children=[paragraph("deepest")])]}},
    {"to_do": {"rich_text": TEXT, "checked": True}},
    {"callout": {"rich_text": TEXT, "icon": {"type": "emoji", "emoji": "💡"}}},
    {"code": {"rich_text": TEXT, "language": "python"}},
    {"equation": {"expression": "x^2"}},
    {"divider": {}},
    {"image": {"type": "external", "external": {"url": "https://example.com/a.png"}, "caption": TEXT}},
    {"bookmark": {"url": "https://example.com/"}},
    {"table": {"table_width": 1, "children": [{"table_row": {"cells": [TEXT]}}]}},
    {"column_list": {"children": [{"column": {"children": [paragraph("left")]}}] * 2}},
]
