"""Log lines on standard error: for people, or one JSON object a line.

A broker that is away makes aiokafka complain many times a second. Lines that repeat themselves are held back for a
while
and counted, so that the others can be found.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

import orjson

from fleetmeter_jobs.settings import Settings

_CHATTY = ("aiokafka", "faust", "mode", "aiohttp", "asyncio", "fleetmeter_jobs.app", "fleetmeter_jobs.transport")
"""Libraries (and our services, for which mode speaks) that report each step at INFO; their warnings are kept."""
_REPEATING = ("aiokafka", "mode", "fleetmeter_jobs")
_HELD_BACK_S = 10.0
_TEXT = "%(asctime)s %(levelname)-7s %(message)s"


class JsonFormatter(logging.Formatter):
    """time (RFC 3339, UTC), level, logger, message, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


class HoldBackRepeats(logging.Filter):
    """Lets a kind of line (logger and message before its values) through once in a while; then it says how many it
    held.

    The clock is the records' own.
    """

    def __init__(self, loggers: tuple[str, ...] = _REPEATING, held_back_s: float = _HELD_BACK_S) -> None:
        super().__init__()
        self._loggers, self._held_back_s = loggers, held_back_s
        self._last: dict[tuple[str, str], float] = {}
        self._held: dict[tuple[str, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING or not record.name.startswith(self._loggers):
            return True
        kind = (record.name, str(record.msg))
        if record.created - self._last.get(kind, float("-inf")) < self._held_back_s:
            self._held[kind] = self._held.get(kind, 0) + 1
            return False
        self._last[kind] = record.created
        if held := self._held.pop(kind, 0):
            record.msg = f"{record.msg} (and {held} more like this)"
        return True


def configure_logs(settings: Settings) -> None:
    """Send the process's log to standard error as the settings say."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else logging.Formatter(_TEXT))
    handler.addFilter(HoldBackRepeats())
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(settings.log_level)))
