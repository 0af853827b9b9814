"""Logs through one door: events with fields, as JSON or for a terminal, with the request's id and without content."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager
from typing import Any, Final, TextIO

import structlog

from domain.errors import AssistantError
from ops.config import ConfigError, LogFormat, LogLevel
from ops.errors import StartupError

# Whatever else logs is heard from WARNING on only: below that, SDKs and drivers log bodies and parameters.
_OWN_LOGGERS: Final = (
    "schema",
    "resolvers",
    "domain",
    "persistence",
    "integrations",
    "ops",
    "main",
    "__main__",
)
_HIDDEN_FIELDS: Final = frozenset(
    {
        "password",
        "token",
        "api_key",
        "key",
        "secret",
        "authorization",
        "cookie",
        "prompt",
        "content",
        "text",
        "variables",
    }
)
# Exceptions whose message is written by us or names code and system calls. Any other may quote data: asyncpg quotes
# whole rows, ValueError what could not be parsed, SDKs the request.
_SHOWN_EXCEPTIONS: Final = (AssistantError, StartupError, ConfigError)
_SHOWN_BUILTINS: Final = (
    TypeError, AttributeError, NameError, ImportError, OSError, RuntimeError, AssertionError, MemoryError,
)  # fmt: skip
_EXPLAINING_ATTRIBUTES: Final = ("sqlstate", "status_code", "errno")
_FRAME_LIMIT: Final = 40
_CHAIN_LIMIT: Final = 10

_EventDict = MutableMapping[str, Any]  # structlog's own type for the fields of an event


def configure_logging(
    *, level: LogLevel = LogLevel.INFO, log_format: LogFormat = LogFormat.AUTO, stream: TextIO | None = None
) -> None:
    """Sends structlog's and the standard library's records to one stream (standard error); may be called again."""
    output = stream or sys.stderr
    is_console = log_format is LogFormat.CONSOLE or (log_format is LogFormat.AUTO and output.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _hide_content,
        _describe_exception,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer(sort_keys=False)
    if is_console:
        renderer = structlog.dev.ConsoleRenderer(
            colors=output.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), _drop_colours, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in _OWN_LOGGERS:
        logging.getLogger(name).setLevel(level.upper())
    logging.captureWarnings(capture=True)


def bind_request_id(request_id: str) -> AbstractContextManager[None]:
    """Puts the id on every event that is logged within the context, and by the tasks that are started there."""
    return structlog.contextvars.bound_contextvars(request_id=request_id)


def _drop_colours(_logger: object, _method: str, event: _EventDict) -> _EventDict:
    """uvicorn gives its messages a second time, with colours."""
    event.pop("color_message", None)
    return event


def _hide_content(_logger: object, _method: str, event: _EventDict) -> _EventDict:
    for name in event.keys() & _HIDDEN_FIELDS:
        event[name] = "***"
    return event


def _describe_exception(_logger: object, _method: str, event: _EventDict) -> _EventDict:
    found = event.pop("exc_info", None)
    error = found[1] if isinstance(found, tuple) else found
    if error is not None and not isinstance(error, BaseException):
        error = sys.exc_info()[1]
    if error is not None:
        event["exception"] = "\n".join(describe_exception(error))
    return event


def describe_exception(error: BaseException) -> Iterator[str]:
    """The lines of a traceback, causes first, with messages only where they cannot hold anybody's data."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain and len(chain) < _CHAIN_LIMIT:
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    for each in reversed(chain):
        for frame in traceback.format_tb(each.__traceback__, limit=-_FRAME_LIMIT):
            yield frame.rstrip()
        yield _summary(each)
        if isinstance(each, BaseExceptionGroup):
            for index, member in enumerate(each.exceptions[:_CHAIN_LIMIT], start=1):
                yield f"  member {index}:"
                yield from (f"    {line}" for line in describe_exception(member))


def _summary(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    is_plain = kind.__module__ == "builtins" and isinstance(error, _SHOWN_BUILTINS)
    if is_plain or isinstance(error, _SHOWN_EXCEPTIONS):
        return f"{name}: {error}"
    facts = {fact: getattr(error, fact, None) for fact in _EXPLAINING_ATTRIBUTES}
    return f"{name} {_written(facts)}".rstrip()


def _written(facts: Mapping[str, object]) -> str:
    return " ".join(f"{name}={value}" for name, value in facts.items() if isinstance(value, int | str))
