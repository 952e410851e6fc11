"""Log lines for machines."""

from __future__ import annotations

import json
import logging
import sys

from fleetmeter_jobs.logs import JsonFormatter


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
