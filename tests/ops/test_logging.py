"""Logs are events with fields and a request's id, and hold nobody's data."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest
import structlog

from domain.errors import NotFound
from domain.secret import Secret
from ops.config import LogFormat, LogLevel
from ops.logging import bind_request_id, configure_logging


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


def _lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def _configured(level: LogLevel = LogLevel.INFO) -> io.StringIO:
    stream = io.StringIO()
    configure_logging(level=level, stream=stream)
    return stream


def test_an_event_is_a_line_of_json_with_its_fields() -> None:
    stream = _configured()
    structlog.get_logger("ops.test").info("thing_happened", count=3, secret=Secret("geheim"), provider="demo\nx")
    (line,) = _lines(stream)
    assert line["event"] == "thing_happened"
    assert (line["level"], line["logger"], line["count"]) == ("info", "ops.test", 3)
    assert line["provider"] == "demo\nx"
    assert str(line["timestamp"]).endswith("Z")
    assert "geheim" not in stream.getvalue()


def test_the_request_id_is_on_every_event_within() -> None:
    stream = _configured()
    with bind_request_id("r-1"):
        structlog.get_logger("ops.test").info("inside")
        logging.getLogger("uvicorn.error").error("from a library")
    structlog.get_logger("ops.test").info("outside")
    inside, library, outside = _lines(stream)
    assert inside["request_id"] == library["request_id"] == "r-1"
    assert library["event"] == "from a library"
    assert "request_id" not in outside


def test_libraries_are_heard_from_warning_on_even_when_we_debug() -> None:
    stream = _configured(LogLevel.DEBUG)
    for name in ("httpx", "openai", "asyncpg", "sqlalchemy.engine", "uvicorn.access", "uvicorn.error"):
        logging.getLogger(name).debug("a body")
        logging.getLogger(name).info("a body")
    assert stream.getvalue() == ""
    structlog.get_logger("integrations.openai").debug("model_list_cached")
    with warnings.catch_warnings(action="always"):
        warnings.warn("something is deprecated", UserWarning, stacklevel=1)
    assert [line["level"] for line in _lines(stream)] == ["debug", "warning"]


def test_the_standard_librarys_records_keep_their_fields() -> None:
    stream = _configured()
    logging.getLogger("domain.generator").info("generation_ended", extra={"generation_id": "1", "prompt": "geheim"})
    (line,) = _lines(stream)
    assert (line["event"], line["generation_id"], line["prompt"]) == ("generation_ended", "1", "***")


def test_fields_that_hold_content_are_hidden() -> None:
    stream = _configured()
    structlog.get_logger("domain.test").warning("oops", prompt="geheim", password="geheim", token="geheim", id="1")
    assert "geheim" not in stream.getvalue()
    assert _lines(stream)[0]["id"] == "1"


@pytest.mark.parametrize(
    ("error", "summary"),
    [
        (ValueError("geheim"), "ValueError"),
        (KeyError("geheim"), "KeyError"),
        (json.JSONDecodeError("geheim", "geheim", 0), "json.decoder.JSONDecodeError"),
        (TypeError("unsupported operand"), "TypeError: unsupported operand"),
        (ConnectionRefusedError(111, "Connection refused"), "ConnectionRefusedError: [Errno 111] Connection refused"),
        (NotFound("No such generation."), "domain.errors.NotFound: No such generation."),
    ],
)
def test_an_exception_is_told_without_data(error: Exception, summary: str) -> None:
    stream = _configured()
    try:
        raise error
    except Exception:
        structlog.get_logger("ops.test").exception("failed")
        logging.getLogger("asyncio").exception("failed in a library")
    for line in _lines(stream):
        text = str(line["exception"])
        assert text.splitlines()[-1] == summary
        assert "test_logging.py" in text
        assert "geheim" not in text


def test_causes_and_groups_are_told_too() -> None:
    stream = _configured()
    try:
        try:
            raise ValueError(Secret("geheim").reveal())
        except ValueError as error:
            raise ExceptionGroup("several", [RuntimeError("one"), OSError("two")]) from error
    except ExceptionGroup:
        structlog.get_logger("ops.test").exception("failed")
    text = str(_lines(stream)[0]["exception"])
    assert [
        line.strip() for line in text.splitlines() if "Error" in line and "File" not in line and "raise" not in line
    ] == [
        "ValueError",
        "RuntimeError: one",
        "OSError: two",
    ]


def test_on_a_terminal_it_is_for_people_and_exceptions_cause_no_warning() -> None:
    terminal = _Terminal()
    configure_logging(stream=terminal)
    try:
        raise TypeError("oops")
    except TypeError:
        structlog.get_logger("ops.test").exception("failed", port=1)
    assert "TypeError: oops" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")
    plain = _Terminal()
    configure_logging(stream=plain, log_format=LogFormat.JSON)
    structlog.get_logger("ops.test").info("event")
    assert _lines(plain)[0]["event"] == "event"
