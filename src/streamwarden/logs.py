"""Logging: one line per event, as JSON or text, without secrets and control characters.

structlog and the standard library's loggers (pykka, waitress, psycopg) share one handler. The function
that hides secrets is an argument.
"""

from __future__ import annotations

import json
import logging
import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Literal, TextIO

import structlog
from structlog.stdlib import BoundLogger, ProcessorFormatter
from structlog.typing import EventDict, WrappedLogger

LogFormat = Literal["auto", "json", "text"]
Redact = Callable[[str], str]

MAX_TEXT_CHARS = 8192
MAX_ITEMS = 64
MAX_DEPTH = 4
_CUT = "[cut]"
_HIDDEN = "***"
_SECRET_FIELD = re.compile(
    r"(?:^|_)(?:token|password|secret|authorization|cookie|jwt)$", re.IGNORECASE
)
# C0 and C1 controls, line and paragraph separators, bidirectional overrides (log viewers interpret
# them), surrogates (not encodable).
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_QUIET = {"urllib3": logging.WARNING, "waitress.queue": logging.ERROR}
"""Loggers whose details our own metrics and errors already cover."""
_REPETITIVE = ("psycopg.pool",)
"""Loggers that repeat a line at every attempt, once a second while Postgres is unavailable."""
_REPEATED_EVERY_S = 60.0
_FIRST = ("timestamp", "level", "logger", "event")


def configure(log_format: LogFormat, level: str, stream: TextIO, *, redact: Redact = str) -> None:
    """Send every log of the process to ``stream``; may be called again.

    ``auto`` is text on a terminal and JSON elsewhere. ``redact`` sees every text before it is written.
    """
    as_json = log_format == "json" or (log_format == "auto" and not stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_formatter(_json_line if as_json else _text_line, redact))
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each.formatter, ProcessorFormatter)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(least, root.level))
    for name in _REPETITIVE:
        logger = logging.getLogger(name)
        if not any(isinstance(each, Rarely) for each in logger.filters):
            logger.addFilter(Rarely())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=BoundLogger,
        cache_logger_on_first_use=False,  # a logger made at import must follow a later configure
    )


class Rarely(logging.Filter):
    """Passes a repeated message once a minute, with the number of suppressed ones.

    Messages are compared without their arguments, so that there are only a few.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now_s = now_s
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write ``record``."""
        key, now_s = str(record.msg), self._now_s()
        with self._lock:
            written_s, suppressed = self._seen.get(key, (-math.inf, 0))
            if now_s - written_s < _REPEATED_EVERY_S:
                self._seen[key] = (written_s, suppressed + 1)
                return False
            self._seen[key] = (now_s, 0)
        if suppressed:
            record.msg = f"{key} ({suppressed} more before)"
        return True


def get_logger(name: str) -> BoundLogger:
    """Return the logger ``name``; log an event name, and everything else as fields."""
    return structlog.stdlib.get_logger(name)


def _formatter(render: Callable[..., str], redact: Redact) -> ProcessorFormatter:
    return ProcessorFormatter(
        foreign_pre_chain=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
        ],
        processors=[
            ProcessorFormatter.remove_processors_meta,
            _add_timestamp,
            structlog.processors.format_exc_info,
            _Sanitise(redact),
            render,
        ],
    )


def _add_timestamp(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    event["timestamp"] = now.replace("+00:00", "Z")
    return event


class _Sanitise:
    """Converts every value to plain data of bounded size, and redacts every text."""

    def __init__(self, redact: Redact) -> None:
        self._redact = redact

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {str(name): self._field(str(name), value, 0) for name, value in event.items()}

    def _field(self, name: str, value: object, depth: int) -> object:
        if value is not None and _SECRET_FIELD.search(name):
            return _HIDDEN
        return self._plain(value, depth)

    def _plain(self, value: object, depth: int) -> object:
        match value:
            case None | bool() | int():
                return value
            case float() if math.isfinite(value):  # JSON has no NaN and infinity
                return value
            case Mapping() if depth < MAX_DEPTH:
                pairs = list(value.items())[:MAX_ITEMS]
                return {str(name): self._field(str(name), each, depth + 1) for name, each in pairs}
            case list() | tuple() | set() | frozenset() if depth < MAX_DEPTH:
                return [self._plain(each, depth + 1) for each in list(value)[:MAX_ITEMS]]
            case _:
                return self._text(value)

    def _text(self, value: object) -> str:
        # Cut to twice the visible length first: it bounds the cost of the patterns, and a secret at the
        # visible end is still complete.
        text = self._redact(str(value)[: 2 * MAX_TEXT_CHARS])
        return text if len(text) <= MAX_TEXT_CHARS else text[:MAX_TEXT_CHARS] + _CUT


def _json_line(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    ordered = {name: event[name] for name in _FIRST if name in event} | dict(event)
    line = json.dumps(ordered, ensure_ascii=False, default=str)
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", line)


def _text_line(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    fields = [f"{name}={_quoted(event[name])}" for name in event if name not in _FIRST]
    head = [str(event.get(name, "-")) for name in _FIRST]
    return _UNSAFE.sub(_escaped, " ".join([*head, *fields]))


def _quoted(value: object) -> str:
    if isinstance(value, str) and value and " " not in value and '"' not in value:
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _escaped(found: re.Match[str]) -> str:
    short = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return short.get(found[0]) or f"\\u{ord(found[0]):04x}"
