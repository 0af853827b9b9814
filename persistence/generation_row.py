"""How a generation is read from its row."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, ColumnElement, RowMapping, Text, literal_column

from domain.generation import Generation, GenerationStatus
from domain.provider import ModelRef
from persistence.billing import usage_of
from persistence.failure import failure_of
from persistence.tables import content_history

# Everything but the long texts.
GENERATION_COLUMNS: Final = tuple(
    content_history.c[name]
    for name in (
        "id",
        "user_id",
        "parent_id",
        "provider",
        "model",
        "parameters",
        "fallback",
        "metadata",
        "status",
        "epoch",
        "fence",
        "input_tokens",
        "cached_input_tokens",
        "cache_write_tokens",
        "output_tokens",
        "reasoning_tokens",
        "usage_is_estimated",
        "cost_usd",
        "price_version",
        "finish_reason",
        "failure_code",
        "failure_message",
        "failure_reason",
        "failure_retry_after_seconds",
        "created_at",
        "cache_key",
        "is_cached",
        "started_at",
        "finished_at",
    )
)


def has_status(column: Column[str], *statuses: str) -> ColumnElement[bool]:
    """Written out in the statement, because a parameter would hide from the planner which partial index fits."""
    written = [literal_column(f"'{status}'", Text) for status in statuses]
    return column == written[0] if len(written) == 1 else column.in_(written)


IS_QUEUED: Final = has_status(content_history.c.status, GenerationStatus.QUEUED)
IS_RUNNING: Final = has_status(content_history.c.status, GenerationStatus.RUNNING)
IS_OPEN: Final = has_status(content_history.c.status, *(status for status in GenerationStatus if not status.is_final))


def generation_of(row: RowMapping) -> Generation:
    """The generation in a row of GENERATION_COLUMNS."""
    return Generation(
        id=row["id"],
        user_id=row["user_id"],
        parent_id=row["parent_id"],
        provider_id=row["provider"],
        model=row["model"],
        parameters=row["parameters"],
        fallback=tuple(ModelRef(provider_id=each["provider"], model=each["model"]) for each in row["fallback"]),
        status=GenerationStatus(row["status"]),
        epoch=row["epoch"],
        fence=row["fence"],
        usage=usage_of(row),
        cost=row["cost_usd"],
        price_version=row["price_version"],
        finish_reason=row["finish_reason"],
        failure=failure_of(row),
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        metadata=row["metadata"],
        cache_key=row["cache_key"],
        is_cached=row["is_cached"],
    )
