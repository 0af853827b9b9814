"""How a failure is kept in the columns of a generation or a publication."""

from __future__ import annotations

from sqlalchemy import RowMapping

from domain.errors import ErrorCode
from domain.generation import Failure


def failure_of(row: RowMapping) -> Failure | None:
    """What the row tells of a failure."""
    if row["failure_code"] is None:
        return None
    return Failure(
        code=ErrorCode(row["failure_code"]),
        message=row["failure_message"],
        reason=row["failure_reason"],
        retry_after_seconds=row["failure_retry_after_seconds"],
    )


def failure_values(failure: Failure | None) -> dict[str, object]:
    """The columns that tell of it."""
    return {
        "failure_code": None if failure is None else failure.code.value,
        "failure_message": None if failure is None else failure.message,
        "failure_reason": None if failure is None else failure.reason,
        "failure_retry_after_seconds": None if failure is None else failure.retry_after_seconds,
    }
