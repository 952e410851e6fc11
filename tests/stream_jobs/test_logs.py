"""Log lines for machines."""

from __future__ import annotations

import json
import logging
import sys

from fleetmeter_jobs.logs import HoldBackRepeats, JsonFormatter


def test_a_json_line_has_the_time_the_message_and_the_traceback() -> None:
    try:
        raise ValueError("deep")
    except ValueError:
        record = logging.LogRecord(
            "fleetmeter_jobs.x", logging.WARNING, "f.py", 1, "%s waits", ("u-0",), sys.exc_info()
        )
    record.created = 1_700_000_000.5
    line = JsonFormatter().format(record)
    assert "\n" not in line
    parsed = json.loads(line)
    assert parsed["time"] == "2023-11-14T22:13:20.500+00:00"
    assert (parsed["level"], parsed["logger"], parsed["message"]) == ("WARNING", "fleetmeter_jobs.x", "u-0 waits")
    assert "ValueError: deep" in parsed["traceback"]


def test_lines_that_repeat_are_held_back_and_counted() -> None:
    held = HoldBackRepeats(held_back_s=10)

    def line(name: str, message: str, value: object, at: float, level: int = logging.ERROR) -> str | None:
        record = logging.LogRecord(name, level, "f.py", 1, message, (value,), None)
        record.created = at
        return record.getMessage() if held.filter(record) else None

    assert line("aiokafka.conn", "no answer from %s", 1, at=100) == "no answer from 1"
    assert line("aiokafka.conn", "no answer from %s", 2, at=100.1) is None
    assert line("aiokafka.conn", "other %s", 2, at=100.1) == "other 2"
    assert line("aiokafka.conn", "no answer from %s", 3, at=109.9) is None
    assert line("aiokafka.conn", "no answer from %s", 4, at=110) == "no answer from 4 (and 2 more like this)"
    assert line("aiokafka.conn", "no answer from %s", 5, at=121) == "no answer from 5"
    for _ in range(2):
        assert line("somebody.else", "no answer from %s", 1, at=100) == "no answer from 1"
        assert line("aiokafka.conn", "joined %s", 1, at=100, level=logging.INFO) == "joined 1"
