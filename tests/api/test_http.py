"""GraphQL over HTTP: media types, status codes, and every way in which a request can be wrong."""

import asyncio
import json
import logging
from datetime import timedelta
from typing import Any

import httpx
import pytest
from graphql import get_introspection_query

from schema.limits import DocumentLimits
from schema.transport import TransportLimits
from tests.api.serving import serving
from tests.api.small_schema import Happenings, small_endpoint

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"
PREFLIGHT = {"apollo-require-preflight": "true"}


def body_of(response: httpx.Response) -> dict[str, Any]:
    """The answer, which must be JSON in GraphQL's form, in UTF-8, and not to be stored."""
    assert response.headers["content-type"] in (f"{JSON}; charset=utf-8", f"{GRAPHQL}; charset=utf-8")
    assert response.headers["vary"] == "Accept"
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    assert body.keys() <= {"data", "errors", "extensions"}
    assert all(error["message"] and error["extensions"]["code"] for error in body.get("errors", []))
    return dict(body)


def code_of(response: httpx.Response) -> str:
    """The code of the only error."""
    (error,) = body_of(response)["errors"]
    return str(error["extensions"]["code"])


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (JSON, JSON),
        (GRAPHQL, GRAPHQL),
        (f"{GRAPHQL}, {JSON};q=0.9", GRAPHQL),
        (f"{JSON}, {GRAPHQL};q=0.9", JSON),
        (f"{JSON}, {GRAPHQL}", GRAPHQL),
        ("text/html, APPLICATION/JSON; charset=utf-8", JSON),
        ("text/html, */*;q=0.1", JSON),
        (f"{JSON};q=0, {GRAPHQL}", GRAPHQL),
        # what urql sends with everything
        (f"{GRAPHQL}, application/graphql+json, {JSON}, text/event-stream, multipart/mixed", GRAPHQL),
    ],
)
async def test_media_type_is_negotiated(http: httpx.AsyncClient, accept: str | None, expected: str) -> None:
    http.headers.pop("accept", None)
    response = await http.post(
        "/graphql", json={"query": "{ hello }"}, headers={} if accept is None else {"accept": accept}
    )
    assert response.status_code == 200
    assert response.headers["content-type"].startswith(expected)
    assert body_of(response) == {"data": {"hello": "Hello, world!"}}


@pytest.mark.parametrize("accept", ["text/html", f"{JSON};q=0", f"{JSON};q=nonsense", "application/xml"])
async def test_nothing_acceptable(http: httpx.AsyncClient, accept: str) -> None:
    response = await http.post("/graphql", json={"query": "{ hello }"}, headers={"accept": accept})
    assert response.status_code == 406
    assert code_of(response) == "BAD_REQUEST"


@pytest.mark.parametrize(
    ("request_body", "code"),
    [
        ({"query": "{"}, "GRAPHQL_PARSE_FAILED"),
        ({"query": "{ nope }"}, "GRAPHQL_VALIDATION_FAILED"),
        ({"query": "query ($n: String!) { hello(name: $n) }"}, "INVALID_INPUT"),
        ({"query": "query ($n: String) { hello(name: $n) }", "variables": {"n": 1}}, "INVALID_INPUT"),
        ({"query": "query A { hello } query B { hello }"}, "INVALID_INPUT"),
        ({"query": "query A { hello }", "operationName": "B"}, "OPERATION_RESOLUTION_FAILURE"),
        ({"query": '{ hello(name: "a\\u0000") }'}, "INVALID_INPUT"),
        ({"query": '{ hello(name: """a\x00""") }'}, "INVALID_INPUT"),
        ({"query": '{ hello(name: "\\uD800") }'}, "GRAPHQL_PARSE_FAILED"),
        ({"query": "{ a" * 2000}, "GRAPHQL_PARSE_FAILED"),
        ({"query": "{ hello " + "hello " * 5000 + "}"}, "GRAPHQL_PARSE_FAILED"),
    ],
)
async def test_refused_documents(http: httpx.AsyncClient, request_body: dict[str, Any], code: str) -> None:
    newer = await http.post("/graphql", json=request_body, headers={"accept": GRAPHQL})
    older = await http.post("/graphql", json=request_body, headers={"accept": JSON})
    assert (newer.status_code, older.status_code) == (400, 200)
    for response in (newer, older):
        assert "data" not in body_of(response)
        assert code_of(response) == code


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"query": "\x00"}', "not valid JSON"),
        (b'{"query": "\xff"}', "not valid JSON"),
        (b'{"query": "{ hello } # \\ud800"}', "not valid JSON"),
        (b"[" * 3000 + b"]" * 3000, "not valid JSON"),
        (b"1", "JSON object"),
        (b"null", "JSON object"),
        (b'"{ hello }"', "JSON object"),
        (b"[]", "Batching"),
        (b'[{"query": "{ hello }"}]', "Batching"),
        (b"{}", "no `query`"),
        (b'{"query": null}', "no `query`"),
        (b'{"query": ""}', "empty"),
        (b'{"query": {}}', "`query` must be"),
        (b'{"query": "{ hello }", "operationName": 1}', "`operationName` must be"),
        (b'{"query": "{ hello }", "variables": []}', "`variables` must be"),
        (b'{"query": "{ hello }", "variables": "{}"}', "`variables` must be"),
        (b'{"query": "{ hello }", "extensions": 7}', "`extensions` must be"),
    ],
)
@pytest.mark.parametrize("accept", [JSON, GRAPHQL])
async def test_malformed_bodies(http: httpx.AsyncClient, content: bytes, says: str, accept: str) -> None:
    response = await http.post("/graphql", content=content, headers={"content-type": JSON, "accept": accept})
    assert response.status_code == 400
    assert code_of(response) == "BAD_REQUEST"
    assert says in body_of(response)["errors"][0]["message"]


async def test_nul_in_variables_is_refused_with_its_path(http: httpx.AsyncClient, happenings: Happenings) -> None:
    variables = {"input": {"list": ["fine", {"text": "a\x00b"}]}}
    response = await http.post("/graphql", json={"query": "mutation { touch }", "variables": variables})
    assert response.status_code == 400
    (error,) = body_of(response)["errors"]
    assert error["extensions"] == {"code": "INVALID_INPUT", "field": ["input", "list", "1", "text"]}
    assert happenings.mutations == 0


async def test_deep_and_wide_variables_cost_little(http: httpx.AsyncClient) -> None:
    deep = "[" * 60 + ",".join(["1"] * 400_000) + "]" * 60
    content = f'{{"query": "{{ hello }}", "variables": {{"deep": {deep}}}}}'
    response = await http.post("/graphql", content=content, headers={"content-type": JSON})
    assert body_of(response) == {"data": {"hello": "Hello, world!"}}


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql",
        "application/json; charset=utf-16",
    ],
)
async def test_wrong_content_type(http: httpx.AsyncClient, happenings: Happenings, content_type: str) -> None:
    content = json.dumps({"query": "mutation { touch }"}).encode()
    response = await http.post("/graphql", content=content, headers={"content-type": content_type})
    assert response.status_code == 415
    assert code_of(response) == "BAD_REQUEST"
    assert happenings.mutations == 0


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=UTF-8", 'Application/JSON; charset="utf-8"']
)
async def test_right_content_type(http: httpx.AsyncClient, content_type: str) -> None:
    response = await http.post("/graphql", content=b'{"query": "{ hello }"}', headers={"content-type": content_type})
    assert response.status_code == 200


async def test_compressed_body_is_refused(http: httpx.AsyncClient) -> None:
    headers = {"content-type": JSON, "content-encoding": "gzip"}
    assert (await http.post("/graphql", content=b"...", headers=headers)).status_code == 415


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
async def test_other_methods(http: httpx.AsyncClient, method: str) -> None:
    response = await http.request(method, "/graphql")
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, POST"


async def test_get_runs_queries_for_clients_that_browsers_must_ask_for(http: httpx.AsyncClient) -> None:
    variables = json.dumps({"n": "Ada"})
    params = {"query": "query A($n: String) { hello(name: $n) }", "variables": variables, "operationName": "A"}
    for headers in (PREFLIGHT, {"x-apollo-operation-name": "A"}, {"content-type": JSON}):
        response = await http.get("/graphql", params=params, headers=headers)
        assert body_of(response) == {"data": {"hello": "Hello, Ada!"}}
    for headers in ({}, {"apollo-require-preflight": ""}, {"content-type": "text/plain"}):
        response = await http.get("/graphql", params=params, headers=headers)
        assert response.status_code == 400
        assert "Apollo-Require-Preflight" in body_of(response)["errors"][0]["message"]


async def test_get_never_mutates(http: httpx.AsyncClient, happenings: Happenings) -> None:
    response = await http.get("/graphql", params={"query": "mutation { touch }"}, headers=PREFLIGHT)
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert happenings.mutations == 0


@pytest.mark.parametrize("name", ["variables", "extensions"])
@pytest.mark.parametrize("value", ["{", "[]", "1"])
async def test_get_with_bad_parameters(http: httpx.AsyncClient, name: str, value: str) -> None:
    response = await http.get("/graphql", params={"query": "{ hello }", name: value}, headers=PREFLIGHT)
    assert response.status_code == 400


@pytest.mark.parametrize("accept", [JSON, GRAPHQL])
async def test_subscription_as_a_single_answer(http: httpx.AsyncClient, accept: str) -> None:
    response = await http.post("/graphql", json={"query": "subscription { count }"}, headers={"accept": accept})
    assert response.status_code == 406
    assert "text/event-stream" in body_of(response)["errors"][0]["message"]


async def test_expected_failures_tell_their_code(http: httpx.AsyncClient) -> None:
    response = await http.post("/graphql", json={"query": "{ hello missing provider }"}, headers={"accept": GRAPHQL})
    assert response.status_code == 200
    body = body_of(response)
    assert body["data"] == {"hello": "Hello, world!", "missing": None, "provider": None}
    by_field = {error["path"][0]: error for error in body["errors"]}
    assert by_field["missing"]["message"] == "There is no such thing."
    assert by_field["missing"]["extensions"] == {"code": "NOT_FOUND", "field": ["id"]}
    assert by_field["provider"]["extensions"] == {
        "code": "PROVIDER_FAILED",
        "reason": "RATE_LIMITED",
        "retryAfterSeconds": 7,
    }


@pytest.mark.parametrize("field", ["crash", "brokenPromise"])
async def test_unexpected_failures_are_masked_and_logged_once(
    http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, field: str
) -> None:
    with caplog.at_level(logging.DEBUG):
        query = {"query": f"query ($s: String) {{ {field} hello(name: $s) }}", "variables": {"s": "a-secret"}}
        response = await http.post("/graphql", json=query)
    (error,) = body_of(response)["errors"]
    assert "tiger" not in response.text
    assert "null" not in error["message"]
    assert error["extensions"]["code"] == "INTERNAL"
    records = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.getMessage() for record in records] == ["unexpected_error"]
    assert records[0].__dict__["reference"] == error["extensions"]["reference"]
    assert records[0].exc_info is not None
    assert "a-secret" not in caplog.text


async def test_expected_failures_are_not_logged(http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        for query in ("{ missing }", "{ nope }", "{"):
            await http.post("/graphql", json={"query": query})
    assert [record.name for record in caplog.records if record.name.startswith(("schema", "strawberry"))] == []


async def test_the_bearer_of_a_good_token_is_known(http: httpx.AsyncClient) -> None:
    for headers, name in (({"authorization": "Bearer good"}, "ada"), ({}, None), ({"authorization": ""}, None)):
        response = await http.post("/graphql", json={"query": "{ me }"}, headers=headers)
        assert body_of(response) == {"data": {"me": name}}


@pytest.mark.parametrize(("token", "is_expired"), [("expired", True), ("revoked", False)])
@pytest.mark.parametrize("accept", [JSON, GRAPHQL, "text/event-stream"])
async def test_a_bad_token_refuses_the_request(
    http: httpx.AsyncClient, happenings: Happenings, token: str, is_expired: bool, accept: str
) -> None:
    headers = {"authorization": f"Bearer {token}", "accept": accept}
    response = await http.post("/graphql", json={"query": "mutation { touch }"}, headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    (error,) = body_of(response)["errors"]
    assert error["extensions"] == {"code": "UNAUTHENTICATED", "expired": is_expired}
    assert happenings.mutations == 0


async def test_authentication_that_cannot_be_done(http: httpx.AsyncClient) -> None:
    response = await http.post("/graphql", json={"query": "{ me }"}, headers={"authorization": "Bearer down"})
    assert (response.status_code, code_of(response)) == (503, "UNAVAILABLE")
    assert response.headers["retry-after"] == "5"
    response = await http.post("/graphql", json={"query": "{ me }"}, headers={"authorization": "Bearer crash"})
    assert (response.status_code, code_of(response)) == (500, "INTERNAL")
    assert "tiger" not in response.text


async def test_bodies_are_bounded(happenings: Happenings) -> None:
    limits = TransportLimits(max_request_bytes=1000)

    async def in_pieces() -> Any:
        for _ in range(100):
            yield b"x" * 100
            await asyncio.sleep(0)

    async with (
        serving(small_endpoint(happenings, limits=limits)) as address,
        httpx.AsyncClient(base_url=f"http://{address}") as http,
    ):
        announced = await http.post("/graphql", content=b"x" * 1001, headers={"content-type": JSON})
        chunked = await http.post("/graphql", content=in_pieces(), headers={"content-type": JSON})
        for response in (announced, chunked):
            assert response.status_code == 413
            assert code_of(response) == "BAD_REQUEST"
        fits = json.dumps({"query": "{ hello }"}).ljust(1000)
        assert (await http.post("/graphql", content=fits, headers={"content-type": JSON})).status_code == 200


async def test_the_longest_prompt_fits_however_it_is_escaped(happenings: Happenings) -> None:
    limits = TransportLimits.admitting(max_prompt_chars=200_000, longest_generation=timedelta(minutes=10))
    content = '{"query": "query ($n: String!) { hello(name: $n) }", "variables": {"n": "' + "\\u00e9" * 200_000 + '"}}'
    async with (
        serving(small_endpoint(happenings, limits=limits)) as address,
        httpx.AsyncClient(base_url=f"http://{address}") as http,
    ):
        response = await http.post("/graphql", content=content, headers={"content-type": JSON})
    assert response.json()["data"]["hello"] == "Hello, " + "é" * 200_000 + "!"
    least = TransportLimits.admitting(max_prompt_chars=1, longest_generation=timedelta(hours=1))
    assert (least.max_request_bytes, least.operation_timeout) == (1_048_576, timedelta(minutes=61))


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("{ again { again { again { hello } } } }", "levels of fields"),
        (
            "{ ...A } fragment A on Query { again { ...B } } fragment B on Query { again { again { hello } } }",
            "levels of",
        ),
        ("{ hello hello hello hello }", "fields at the root"),
        ("{ ... { hello hello } ...A } fragment A on Query { hello hello }", "fields at the root"),
        ("{ again { hello hello hello hello hello hello hello hello } }", "fields;"),
        ("{ again { ...A } again { ...A } } fragment A on Query { hello hello hello }", "fields;"),
        ("{ a: hello b: hello again { c: hello } }", "aliases"),
        ("{ hello @skip(if: false) ... @include(if: true) { hello @skip(if: false) } }", "directives"),
        # a fragment that nothing spreads is validated all the same
        ("{ hello } fragment A on Query { again { again { again { hello } } } }", "levels of fields"),
    ],
)
async def test_documents_that_ask_for_too_much(happenings: Happenings, query: str, says: str) -> None:
    limits = DocumentLimits(max_depth=3, max_root_fields=3, max_fields=7, max_aliases=2, max_directives=2)
    async with (
        serving(small_endpoint(happenings, document_limits=limits)) as address,
        httpx.AsyncClient(base_url=f"http://{address}") as http,
    ):
        for _ in range(2):
            response = await http.post("/graphql", json={"query": query}, headers={"accept": GRAPHQL})
            assert response.status_code == 400
            assert code_of(response) == "INVALID_INPUT"
            assert says in body_of(response)["errors"][0]["message"]


async def test_circles_of_fragments_are_left_to_validation(http: httpx.AsyncClient) -> None:
    query = "{ ...A } fragment A on Query { again { ...B } } fragment B on Query { again { ...A } }"
    response = await http.post("/graphql", json={"query": query})
    assert code_of(response) == "GRAPHQL_VALIDATION_FAILED"


async def test_a_remembered_document_behaves_like_a_new_one(http: httpx.AsyncClient) -> None:
    query = "query A { hello } query B($n: String!) { hello(name: $n) }"
    for _ in range(3):
        response = await http.post("/graphql", json={"query": query, "operationName": "A"})
        assert body_of(response) == {"data": {"hello": "Hello, world!"}}
        response = await http.post("/graphql", json={"query": query, "operationName": "B", "variables": {"n": "Ada"}})
        assert body_of(response) == {"data": {"hello": "Hello, Ada!"}}
        assert code_of(await http.post("/graphql", json={"query": query})) == "INVALID_INPUT"
        assert code_of(await http.post("/graphql", json={"query": query + "{"})) == "GRAPHQL_PARSE_FAILED"


async def test_the_standard_introspection_query_is_within_the_limits(http: httpx.AsyncClient) -> None:
    query = get_introspection_query(
        specified_by_url=True,
        directive_is_repeatable=True,
        schema_description=True,
        input_value_deprecation=True,
    )
    response = await http.post("/graphql", json={"query": query})
    assert body_of(response)["data"]["__schema"]["queryType"]["name"] == "Query"
