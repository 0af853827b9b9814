"""Requests are counted, timed, logged and named; health and metrics answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from structlog.testing import capture_logs

from ops import health as health_module
from ops.health import Health, health_routes
from ops.metrics import Metrics, metrics_route
from ops.requests import RequestObserver


class _Checks:
    """A database whose state the test decides."""

    def __init__(self) -> None:
        self.state = "well"
        self.count = 0
        self.is_draining = False

    async def check(self) -> bool:
        self.count += 1
        if self.state == "broken":
            raise OSError("no connection")
        if self.state == "stuck":
            await asyncio.sleep(60)
        return self.state != "behind"


async def _hello(request: Request) -> PlainTextResponse:
    if request.path_params["name"] == "nobody":
        raise RuntimeError("no such person")
    return PlainTextResponse(request.state.request_id)


@pytest.fixture
def checks() -> _Checks:
    return _Checks()


@pytest.fixture
async def client(checks: _Checks) -> AsyncIterator[httpx.AsyncClient]:
    metrics = Metrics()
    health = Health({"database": checks.check}, is_draining=lambda: checks.is_draining)
    app = Starlette(routes=[Route("/hello/{name}", _hello), *health_routes(health), metrics_route(metrics)])
    transport = httpx.ASGITransport(RequestObserver(app, metrics=metrics), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as made:
        yield made


async def test_a_request_gets_an_id_or_keeps_a_proper_one(client: httpx.AsyncClient) -> None:
    made = await client.get("/hello/ann")
    assert made.text == made.headers["x-request-id"]
    assert len(made.text) == 16
    kept = await client.get("/hello/ann", headers={"x-request-id": "abc-123-def"})
    assert kept.text == kept.headers["x-request-id"] == "abc-123-def"
    forged = await client.get("/hello/ann", headers={"x-request-id": 'x" level=error ' + "x" * 100})
    assert len(forged.text) == 16


async def test_a_request_is_logged_by_its_route_and_not_by_what_was_asked(client: httpx.AsyncClient) -> None:
    with capture_logs() as events:
        await client.get("/hello/geheim?token=geheim")
        await client.get("/geheim")
        await client.get("/hello/nobody")
    assert [(event["event"], event["route"], event["status"]) for event in events] == [
        ("http_request", "/hello/{name}", 200),
        ("http_request", "none", 404),
        ("http_request", "/hello/{name}", 500),
    ]
    assert "geheim" not in str(events)


async def test_metrics_count_by_route_and_never_by_path(client: httpx.AsyncClient) -> None:
    await client.get("/hello/geheim")
    await client.request("BREW", "/geheim")
    page = await client.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    assert 'assistant_http_response_seconds_count{method="GET",route="/hello/{name}",status="200"} 1.0' in page.text
    assert 'assistant_http_response_seconds_count{method="other",route="none",status="404"} 1.0' in page.text
    assert "geheim" not in page.text


def test_metrics_have_a_method_for_everything_that_happens() -> None:
    metrics = Metrics()
    metrics.generation_started("demo")
    metrics.generation_started("demo")
    metrics.first_token_received("demo", seconds=0.2)
    metrics.generation_finished("demo", status="SUCCEEDED", seconds=2.0)
    metrics.tokens_used("demo", input_tokens=3, output_tokens=5)
    metrics.publication_finished("PUBLISHED")
    metrics.watch_pool(size=10, used=lambda: 7)
    metrics.watch_streams(lambda: 3)
    value = metrics.registry.get_sample_value
    assert value("assistant_streams_active") == 3
    assert value("assistant_generations_started_total", {"provider": "demo"}) == 2
    assert value("assistant_generations_running", {"provider": "demo"}) == 1
    assert value("assistant_generation_seconds_sum", {"provider": "demo", "status": "SUCCEEDED"}) == 2
    assert value("assistant_first_token_seconds_count", {"provider": "demo"}) == 1
    assert value("assistant_tokens_total", {"provider": "demo", "direction": "output"}) == 5
    assert value("assistant_publications_total", {"status": "PUBLISHED"}) == 1
    assert value("assistant_database_pool_size") == 10
    assert value("assistant_database_pool_used") == 7


async def test_two_servers_in_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.websocket_opened()
    assert second.registry.get_sample_value("assistant_websockets_open") == 0


@pytest.mark.parametrize(("state", "told"), [("broken", "failed"), ("behind", "failed"), ("stuck", "timed out")])
async def test_it_is_not_ready_when_a_check_fails_or_hangs(
    client: httpx.AsyncClient, checks: _Checks, monkeypatch: pytest.MonkeyPatch, state: str, told: str
) -> None:
    if state == "stuck":
        monkeypatch.setattr(health_module, "CHECK_TIMEOUT_SECONDS", 0.05)
    checks.state = state
    answer = await client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json() == {"status": "not ready", "checks": {"database": told, "draining": "no"}}
    assert (await client.get("/health/live")).json() == {"status": "live"}


async def test_asking_often_checks_once(
    client: httpx.AsyncClient, checks: _Checks, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than the asking may take.
    monkeypatch.setattr(health_module, "_FRESH_SECONDS", 100)
    answers = await asyncio.gather(*(client.get("/health/ready") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert checks.count == 1
    checks.is_draining = True
    assert (await client.get("/health/ready")).status_code == 503
