from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from typing import TextIO

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from streamwarden import logs


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    quiet = {name: logging.getLogger(name).level for name in ("urllib3", "waitress.queue")}
    structlog.contextvars.clear_contextvars()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in quiet.items():
        logging.getLogger(name).setLevel(before)
    logging.getLogger("psycopg.pool").filters.clear()
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture(autouse=True)
def this_thread_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that other tests have left may still say something."""
    ours = threading.get_ident()

    class OfThisThread(logging.StreamHandler[TextIO]):
        def filter(self, record: logging.LogRecord) -> bool:
            return record.thread == ours and bool(super().filter(record))

    monkeypatch.setattr(logging, "StreamHandler", OfThisThread)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def fail() -> None:
    raise RuntimeError("failed with s3cret")


def json_lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def configured(log_format: logs.LogFormat = "json", level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    logs.configure(log_format, level, stream, redact=lambda text: text.replace("s3cret", "***"))
    return stream


def test_an_event_is_one_json_line_with_its_fields() -> None:
    stream = configured()
    logs.get_logger("streamwarden.part").info("segment stored", camera="c1", size_bytes=3)
    (line,) = json_lines(stream)
    assert list(line)[:4] == ["timestamp", "level", "logger", "event"]
    assert line["event"] == "segment stored"
    assert line["logger"] == "streamwarden.part"
    assert (line["camera"], line["size_bytes"]) == ("c1", 3)


def test_a_time_is_utc_with_milliseconds() -> None:
    stream = configured()
    logs.get_logger("x").info("tick")
    stamp = str(json_lines(stream)[0]["timestamp"])
    assert stamp.endswith("Z")
    assert len(stamp) == len("2026-11-01T12:00:00.000Z")


def test_standard_loggers_come_out_of_the_same_handler() -> None:
    stream = configured()
    logging.getLogger("waitress").warning("task queue depth is %d", 4)
    (line,) = json_lines(stream)
    assert line["event"] == "task queue depth is 4"
    assert line["logger"] == "waitress"
    assert line["level"] == "warning"


def test_the_bound_request_id_is_a_field_of_every_line() -> None:
    stream = configured()
    structlog.contextvars.bind_contextvars(request_id="r-1")
    logs.get_logger("x").info("ours")
    logging.getLogger("y").info("theirs")
    assert [line["request_id"] for line in json_lines(stream)] == ["r-1", "r-1"]


def test_a_logger_made_before_configure_follows_it() -> None:
    early = logs.get_logger("early")
    first = configured()
    early.info("one")
    second = configured()
    early.info("two")
    assert [line["event"] for line in json_lines(first)] == ["one"]
    assert [line["event"] for line in json_lines(second)] == ["two"]


def test_secrets_are_hidden_in_events_fields_nested_values_and_tracebacks() -> None:
    stream = configured()
    log = logs.get_logger("x")
    log.info("event s3cret", url="rtsp://s3cret", nested={"deep": ["s3cret"]})
    try:
        fail()
    except RuntimeError:
        log.exception("it broke")
        logging.getLogger("pykka").exception("theirs s3cret")
    assert "s3cret" not in stream.getvalue()
    assert [("exception" in line) for line in json_lines(stream)] == [False, True, True]


@pytest.mark.parametrize("name", ["token", "internal_token", "password", "Authorization", "secret"])
def test_a_field_named_like_a_secret_is_hidden_whatever_it_holds(name: str) -> None:
    stream = configured()
    logs.get_logger("x").info("e", **{name: "plain"}, nested={name: "plain"})
    assert "plain" not in stream.getvalue()


def test_a_secret_at_the_cut_is_not_shown_by_half() -> None:
    stream = configured()
    logs.get_logger("x").info("e", field="a" * (logs.MAX_TEXT_CHARS - 3) + "s3cret")
    assert "s3c" not in stream.getvalue()


def test_a_level_below_the_configured_one_is_not_written() -> None:
    stream = configured(level="warning")
    logs.get_logger("x").info("no")
    logging.getLogger("y").info("no")
    logs.get_logger("x").warning("yes")
    assert [line["event"] for line in json_lines(stream)] == ["yes"]


def test_a_long_text_is_cut() -> None:
    stream = configured()
    logs.get_logger("x").info("e", field="a" * 1_000_000)
    assert len(stream.getvalue()) < logs.MAX_TEXT_CHARS + 500


def test_no_pattern_is_run_over_more_than_a_few_lines_worth() -> None:
    seen: list[int] = []

    def spy(text: str) -> str:
        seen.append(len(text))
        return text

    logs.configure("json", "info", io.StringIO(), redact=spy)
    logs.get_logger("x").info("e", field="a" * 1_000_000)
    assert max(seen) == 2 * logs.MAX_TEXT_CHARS


def test_auto_is_text_on_a_terminal_and_json_elsewhere() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    logs.configure("auto", "info", terminal)
    logs.get_logger("x").info("two words", camera="a b", size_bytes=1)
    logs.configure("auto", "info", pipe)
    logs.get_logger("x").info("two words")
    assert terminal.getvalue().rstrip().endswith('info x two words camera="a b" size_bytes=1')
    assert json_lines(pipe)[0]["event"] == "two words"


def test_a_line_end_in_a_text_forges_no_second_line() -> None:
    stream = configured("text")
    logs.get_logger("x").info("one\n2026-01-01T00:00:00.000Z info x forged", field="a\r\nb\x1b[2J")
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


ANY_TEXT = st.text(st.characters())  # surrogates too


@pytest.mark.parametrize("log_format", ["json", "text"])
@given(event=ANY_TEXT, value=st.text() | st.floats() | st.binary() | st.lists(st.text()))
def test_any_text_makes_exactly_one_line_that_can_be_encoded(
    log_format: logs.LogFormat, event: str, value: object
) -> None:
    stream = configured(log_format)
    logs.get_logger("x").info(event, field=value)
    stream.getvalue().encode()
    assert len(stream.getvalue().splitlines()) == 1
    if log_format == "json":
        assert json_lines(stream)[0]["event"] == event


def test_json_holds_no_number_that_json_lacks() -> None:
    stream = configured()
    logs.get_logger("x").info("e", field=float("nan"))
    assert json_lines(stream)[0]["field"] == "nan"


def test_a_pool_without_a_database_says_so_once() -> None:
    stream = configured()
    logs.configure("json", "info", stream)  # again: one filter all the same
    pool = logging.getLogger("psycopg.pool")
    for attempt in range(100):
        pool.warning("error connecting in %r: %s", "api", f"refused {attempt}")
    pool.warning("discarding closed connection: %s", "one")
    assert [line["event"] for line in json_lines(stream)] == [
        "error connecting in 'api': refused 0",
        "discarding closed connection: one",
    ]


def test_what_repeats_is_said_again_after_a_minute_with_how_often() -> None:
    now_s = [0.0]
    rarely = logs.Rarely(lambda: now_s[0])

    def said(at_s: float) -> str | None:
        now_s[0] = at_s
        record = logging.makeLogRecord({"msg": "error in %r", "args": ("api",)})
        return record.getMessage() if rarely.filter(record) else None

    assert [said(at_s) for at_s in (0, 1, 59.9, 60, 61, 121)] == [
        "error in 'api'",
        None,
        None,
        "error in 'api' (2 more before)",
        None,
        "error in 'api' (1 more before)",
    ]
