"""Deterministic stand-ins for what the pipeline talks to, with faults on demand."""

from fleetmeter_doubles.memory_ledger import Fault, Inflight, MemoryLedger, MemoryPart
from fleetmeter_doubles.sample_log import APPEND_TIME_MS, SampleLog, identities_in, usage_batch
from fleetmeter_doubles.turns import Crashed, Turn, TurnCancel

__all__ = [
    "APPEND_TIME_MS",
    "Crashed",
    "Fault",
    "Inflight",
    "MemoryLedger",
    "MemoryPart",
    "SampleLog",
    "Turn",
    "TurnCancel",
    "identities_in",
    "usage_batch",
]
