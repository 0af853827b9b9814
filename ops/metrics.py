"""What the server counts and measures, and the page from which Prometheus reads it."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_HTTP_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_FAST_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_SLOW_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class Metrics:
    """One method for each thing that happens. Labels are of closed sets: never pass a text that a caller chose."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._http_responses = Histogram(
            "assistant_http_response_seconds",
            "Time until the response begins.",
            ["method", "route", "status"],
            buckets=_FAST_SECONDS,
            registry=registry,
        )
        self._websockets = Gauge("assistant_websockets_open", "WebSockets that are open.", registry=registry)
        self._streams = Gauge("assistant_streams_active", "Subscriptions that are being followed.", registry=registry)
        self._generations_started = Counter(
            "assistant_generations_started", "Generations that began to run.", ["provider"], registry=registry
        )
        self._generations_running = Gauge(
            "assistant_generations_running", "Generations that run now.", ["provider"], registry=registry
        )
        self._generations_finished = Histogram(
            "assistant_generation_seconds",
            "Time that generations ran, by how they ended.",
            ["provider", "status"],
            buckets=_SLOW_SECONDS,
            registry=registry,
        )
        self._first_tokens = Histogram(
            "assistant_first_token_seconds",
            "Time from the request to a provider until its first token.",
            ["provider"],
            buckets=_SLOW_SECONDS,
            registry=registry,
        )
        self._tokens = Counter(
            "assistant_tokens", "Tokens that providers have billed.", ["provider", "direction"], registry=registry
        )
        self._publications = Counter(
            "assistant_publications", "Attempts to publish to Notion.", ["status"], registry=registry
        )
        self._pool_size = Gauge("assistant_database_pool_size", "Most connections to the database.", registry=registry)
        self._pool_used = Gauge("assistant_database_pool_used", "Connections that are in use.", registry=registry)

    def http_response_started(self, method: str, *, route: str, status: int, seconds: float) -> None:
        """`route` is the pattern that matched, never the path that was asked for."""
        known_method = method if method in _HTTP_METHODS else "other"
        self._http_responses.labels(known_method, route, str(status)).observe(seconds)

    def websocket_opened(self) -> None:
        """Accepted."""
        self._websockets.inc()

    def websocket_closed(self) -> None:
        """An accepted one has ended."""
        self._websockets.dec()

    def generation_started(self, provider: str) -> None:
        """It runs now."""
        self._generations_started.labels(provider).inc()
        self._generations_running.labels(provider).inc()

    def generation_finished(self, provider: str, *, status: str, seconds: float) -> None:
        """One that had started has ended."""
        self._generations_running.labels(provider).dec()
        self._generations_finished.labels(provider, status).observe(seconds)

    def first_token_received(self, provider: str, *, seconds: float) -> None:
        """After so long."""
        self._first_tokens.labels(provider).observe(seconds)

    def tokens_used(self, provider: str, *, input_tokens: int, output_tokens: int) -> None:
        """As the provider has counted them."""
        self._tokens.labels(provider, "input").inc(input_tokens)
        self._tokens.labels(provider, "output").inc(output_tokens)

    def publication_finished(self, status: str) -> None:
        """An attempt to publish has ended."""
        self._publications.labels(status).inc()

    def watch_pool(self, *, size: int, used: Callable[[], int]) -> None:
        """`used` is asked whenever Prometheus reads."""
        self._pool_size.set(size)
        self._pool_used.set_function(used)

    def watch_streams(self, active: Callable[[], int]) -> None:
        """Asked whenever Prometheus reads, too."""
        self._streams.set_function(active)


def metrics_route(metrics: Metrics, path: str = "/metrics") -> Route:
    """The page that Prometheus reads."""

    async def read(_request: Request) -> Response:
        return Response(generate_latest(metrics.registry), headers={"content-type": CONTENT_TYPE_PLAIN_0_0_4})

    return Route(path, read, methods=["GET"], name="metrics")
