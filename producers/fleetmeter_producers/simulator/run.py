"""Sending a simulated fleet's records to Kafka, some of them by clients as users run them, and writing down what must
come out."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fleetmeter_producers.client import DEFAULT_TOPIC
from fleetmeter_producers.kafka import Connect, connect
from fleetmeter_producers.records import Progress, RecordSender
from fleetmeter_producers.settings import ClientSettings
from fleetmeter_producers.simulator.clients import Clients
from fleetmeter_producers.simulator.config import SimulationConfig
from fleetmeter_producers.simulator.oracle import Oracle, write_oracle
from fleetmeter_producers.simulator.planned import Items
from fleetmeter_producers.simulator.stream import records
from fleetmeter_producers.wire import format_time, micros_of

_PROGRESS_EVERY_S: Final = 0.1
_PACE_AT_LEAST_S: Final = 0.005
_LOOK_EVERY: Final = 100  # records


@dataclass(frozen=True, slots=True)
class SimulationSummary:
    """What was sent and acknowledged; the oracle file has the details. `end` is the time of the last event."""

    events_in: int
    accepted: int
    duplicates: int
    rejected: int
    late: int
    records: int
    value_bytes: int
    seconds: float
    seed: int
    end: str
    oracle_path: str


def simulate(
    config: SimulationConfig,
    bootstrap: str,
    topic: str = DEFAULT_TOPIC,
    oracle_path: Path = Path("oracle.json"),
    progress: Progress | None = None,
    *,
    settings: ClientSettings | None = None,
    connect: Connect = connect,
) -> SimulationSummary:
    """Send a simulated fleet's events, wait until the broker has all of them, and write the oracle file.

    The topic should hold nothing else: the oracle knows of this run's events only. If the run fails or is interrupted,
    the oracle says which of the ready-made records were acknowledged, with `complete` false, since nobody knows of the
    others. A part goes through clients (`Clients`), which keep what waits in a temporary folder.

    Raises `UndeliveredError` if the broker did not acknowledge everything, `ClientSettingsError` for an `end` at which
    workers would refuse good events, OSError for an oracle file that can't be written, before anything is sent.
    """
    started, now = time.monotonic(), datetime.now(UTC)
    end = config.end or now
    config.check_end(end, now)
    end_us = micros_of(end)
    oracle = Oracle(config.events)
    complete = False

    def write() -> None:
        written = {
            **oracle.as_dict(complete=complete),
            "topic": topic,
            "end": format_time(end_us),
            "config": config.model_dump(mode="json"),
        }
        write_oracle(oracle_path, written)

    # Already now: a place that can't be written is told before anything is sent, and if this process is killed, nobody
    # takes the oracle of an earlier run for its own.
    write()
    try:
        with tempfile.TemporaryDirectory(prefix="fleetmeter-simulate-") as spool_dir:
            sender = RecordSender(bootstrap, topic, oracle.acknowledge, settings=settings, connect=connect)
            clients = Clients(bootstrap, topic, settings or ClientSettings(), Path(spool_dir), connect)
            try:
                value_bytes = _send_all(config, end_us, sender, clients, progress)
                for items in clients.finish((settings or ClientSettings()).delivery_timeout_s):
                    oracle.acknowledge(items)
            finally:
                clients.abandon()
        complete = True
    finally:
        write()
    return SimulationSummary(
        events_in=oracle.accepted + oracle.duplicates + oracle.rejected,
        accepted=oracle.accepted,
        duplicates=oracle.duplicates,
        rejected=oracle.rejected,
        late=oracle.late,
        records=oracle.records,
        value_bytes=value_bytes,
        seconds=time.monotonic() - started,
        seed=config.seed,
        end=format_time(end_us),
        oracle_path=str(oracle_path),
    )


def _send_all(
    config: SimulationConfig, end_us: int, sender: RecordSender[Items], clients: Clients, progress: Progress | None
) -> int:
    started = next_report = time.monotonic()
    sent = value_bytes = 0
    look_at_clock = 1 if config.events_per_s is not None else _LOOK_EVERY
    for number, record in enumerate(records(config, end_us)):
        if not clients.take(record):
            sender.send(*record)
        sent += len(record.items)
        value_bytes += len(record.value or b"")
        if number % look_at_clock:
            continue
        now = time.monotonic()
        if config.events_per_s is not None:
            ahead_s = sent / config.events_per_s - (now - started)
            if ahead_s > _PACE_AT_LEAST_S:
                sender.pause(ahead_s)
        if progress is not None and now >= next_report:
            progress(sent, config.events)
            next_report = now + _PROGRESS_EVERY_S
    sender.finish()
    if progress is not None:
        progress(sent, config.events)
    return value_bytes
