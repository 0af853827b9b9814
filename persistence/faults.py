"""The door for the database's faults: they leave as the domain's errors, or as a fault that quotes no stored data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DBAPIError, EmulatedDBAPIException, NotSupportedError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from domain.errors import Conflict, Unavailable

_AWAY: Final = "The database cannot be reached at the moment; try again soon."
_BUSY: Final = "The database is too busy at the moment; try again soon."
_DAMAGED: Final = "Files of the database are damaged; the operator has to look."
_RETRY_AFTER_SECONDS: Final = 2

# By SQLSTATE, or by its class, the first two characters (PostgreSQL's documentation, appendix A).
UNAVAILABLE: Final[Mapping[str, str]] = {
    "08": _AWAY,
    "25006": "The database is read-only at the moment; try again soon.",
    "25P03": _BUSY,
    "25P04": _BUSY,
    "28": "The database refuses this server's sign-in; the operator has to look.",
    "3D": "The database that this server is set up for does not exist; the operator has to look.",
    "40001": _BUSY,
    "40P01": _BUSY,
    "53": "The database has run out of disk space or memory; the operator has to look.",
    "53300": _BUSY,
    "55P03": _BUSY,
    "57": _AWAY,
    "57014": _BUSY,
    "58": "The database's disk fails; the operator has to look.",
    "XX001": _DAMAGED,
    "XX002": _DAMAGED,
}

_CONFLICTS: Final[Mapping[str, tuple[str, tuple[str, ...] | None]]] = {
    "uq_users_email_key": ("This email address is taken.", ("email",)),
    "uq_users_username": ("This username is taken.", ("username",)),
    "pk_ai_providers": ("This id is taken.", ("id",)),
    "uq_content_history_idempotency_key": ("This idempotency key has been used before.", ("idempotencyKey",)),
    "uq_publications_generation_id": ("This generation has a publication already.", None),
    "uq_publications_notion_page_id": ("This Notion page belongs to another publication.", None),
    "uq_notion_pages_page_id": ("This Notion page belongs to another publication.", None),
}


class DatabaseUnavailable(Unavailable):
    """The database cannot be used now; whoever operates the server is told which one it is."""


class DatabaseFault(Exception):
    """The database refused what it should have taken.

    It names what was broken, and neither quotes nor chains the database's own words, for those hold the whole row.
    """


@contextmanager
def translated_faults(sentences: Mapping[str, str] = UNAVAILABLE) -> Iterator[None]:
    """Raises Unavailable, Conflict or DatabaseFault in place of what SQLAlchemy and the driver raise.

    `sentences`, by SQLSTATE or its class, are those of Unavailable: all of UNAVAILABLE at least, in whatever words.
    """
    try:
        yield
    except OSError as error:
        # A connection that cannot be made or breaks, and the driver's own deadline, come as they are.
        raise _unavailable(sentences["08"]) from error
    except PoolTimeoutError as error:
        raise _unavailable(sentences["53300"]) from error
    except SQLAlchemyError as error:
        raise _translation(error, sentences) from None


def _unavailable(sentence: str) -> DatabaseUnavailable:
    return DatabaseUnavailable(sentence, retry_after_seconds=_RETRY_AFTER_SECONDS)


def _translation(error: SQLAlchemyError, sentences: Mapping[str, str]) -> Exception:
    if isinstance(error, NotSupportedError):
        # "cached plan must not change result type": another instance has just migrated. The next try prepares anew.
        return _unavailable(_BUSY)
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return _unavailable(sentences["08"])
    cause = _driver_error(error)
    sqlstate: str = getattr(cause, "sqlstate", None) or ""
    if (sentence := sentences.get(sqlstate) or sentences.get(sqlstate[:2])) is not None:
        return _unavailable(sentence)
    constraint: str = getattr(cause, "constraint_name", None) or ""
    if constraint in _CONFLICTS:
        message, field = _CONFLICTS[constraint]
        return Conflict(message, field=field)
    where = {"SQLSTATE": sqlstate, "table": getattr(cause, "table_name", None), "constraint": constraint}
    named = ", ".join(f"{name} {value}" for name, value in where.items() if value)
    fault = DatabaseFault(f"{type(cause).__name__}: {named}" if named else type(cause).__name__)
    if sqlstate.startswith("42"):
        fault.add_note(str(cause).partition("\n")[0])  # These quote the statement's words, never its values.
    return fault


def _driver_error(error: SQLAlchemyError) -> BaseException:
    original = error.orig if isinstance(error, DBAPIError) else None
    if isinstance(original, EmulatedDBAPIException):
        return original.orig or original
    return original or error
