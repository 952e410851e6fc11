"""Replaying public traces of inference requests as usage events."""

from fleetmeter_producers.trace.reading import COLUMNS, TraceRequest, TraceScan, read_requests, scan_trace
from fleetmeter_producers.trace.replay import ReplaySummary, replay_trace, trace_records

__all__ = [
    "COLUMNS",
    "ReplaySummary",
    "TraceRequest",
    "TraceScan",
    "read_requests",
    "replay_trace",
    "scan_trace",
    "trace_records",
]
