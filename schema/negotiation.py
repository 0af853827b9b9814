"""Which media type answers a request, by its Accept header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

GRAPHQL_JSON: Final = "application/graphql-response+json"
JSON: Final = "application/json"
EVENT_STREAM: Final = "text/event-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What the client takes: a single result as `json`, if at all, and a stream of results or not."""

    json: str | None
    event_stream: bool


def negotiate(accept: str | None) -> Accepted:
    """Reads an Accept header (RFC 9110, 12.5.1); without one, or for a wildcard, the answer is application/json.

    An event stream must be asked for by its name. At equal quality the newer media type of GraphQL wins.
    """
    if accept is None or not accept.strip():
        return Accepted(json=JSON, event_stream=False)
    qualities: dict[str, float] = {}
    for part in accept.split(","):
        media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
        qualities[media_range] = max(_quality(parameters), qualities.get(media_range, 0.0))
    wildcard = qualities.get("application/*", qualities.get("*/*", 0.0))
    graphql_quality = qualities.get(GRAPHQL_JSON, 0.0)
    json_quality = qualities.get(JSON, wildcard)
    json: str | None = None
    if max(graphql_quality, json_quality) > 0:
        json = GRAPHQL_JSON if graphql_quality >= json_quality else JSON
    return Accepted(json=json, event_stream=qualities.get(EVENT_STREAM, 0.0) > 0)


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
