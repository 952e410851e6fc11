"""Time to recover: a worker is killed (SIGKILL) at full load; how long until its partitions are counted again?"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from clickhouse_connect.driver.client import Client
from fleetmeter_jobs.cli.clickhouse import connect
from fleetmeter_jobs.cli.stack.environment import environment_of
from fleetmeter_jobs.settings import Settings
from fleetmeter_local import ManagedProcess, start_process

POLL_S: Final = 0.02
LIMIT_S: Final = 180.0
KILL_AFTER: Final = 0.3
"""The share of the records that is committed when the worker is killed."""


@dataclass(frozen=True)
class Recovery:
    """What happened after the kill, in seconds from it."""

    how: str
    events: int
    """Sent before the worker began, and known to be counted once in the end."""
    left: int
    """Records that were not committed at the kill."""
    all_commit_s: float
    """Until every partition that had records left had made its next commit."""
    caught_up_s: float
    """Until nothing was left."""


def recovery_speed(settings: Settings, records: int, events: int, *, stands_by: bool) -> Recovery:
    """Let workers count a topic that is full already, kill one, and time what follows: it is started again at once, as
    a supervisor does it; or, if another one counts beside it (`stands_by`), that takes over when the session has ended.

    Raises RuntimeError if it takes too long, or if not every event was counted once.
    """
    with ExitStack() as stack, connect(settings, database=settings.clickhouse_database) as client:
        victim = _start(settings, stack, "victim")
        other = _start(settings, stack, "other") if stands_by else None
        _until(lambda: _committed(client, settings) >= records * KILL_AFTER, victim)
        killed_at = time.monotonic()
        victim.kill()
        before = _positions(client, settings)
        again = other or _start(settings, stack, "victim")
        left = {number for number, offset in before.items() if offset < records // settings.topic_partitions}
        if not left:
            raise RuntimeError("the worker was done before it was killed: give it more events")
        all_commit_s = _until(lambda: _moved(before, _positions(client, settings), left), again) - killed_at
        caught_up_s = _until(lambda: _committed(client, settings) >= records, again) - killed_at
        accepted = _sum(client, settings, "accepted")
        if accepted != events:
            raise RuntimeError(f"{accepted} events were counted, {events} were sent")
        how = "another worker takes over" if stands_by else "started again at once"
        return Recovery(how, events, records - sum(before.values()), all_commit_s, caught_up_s)


def _start(settings: Settings, stack: ExitStack, name: str) -> ManagedProcess:
    own = settings.model_copy(update={"group_instance": f"{settings.topic}-{name}"})
    own.model_fields_set.add("group_instance")
    process = start_process(
        f"{settings.topic}-{name}",
        [sys.executable, "-m", "fleetmeter_jobs.cli", "worker"],
        log_path=settings.data_dir / "logs" / f"{settings.topic}-{name}.log",
        env=environment_of(own),
    )
    stack.callback(process.stop, settings.shutdown_limit_s)
    return process


def _until(condition: Callable[[], bool], process: ManagedProcess) -> float:
    """The moment at which it came to hold."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        if not process.is_alive():
            raise RuntimeError(f"the worker ended. Its log says:\n{process.trouble()}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {LIMIT_S} s. The worker's log says:\n{process.trouble()}")
        time.sleep(POLL_S)
    return time.monotonic()


def _moved(before: dict[int, int], now: dict[int, int], partitions: set[int]) -> bool:
    return all(now[number] > before[number] for number in partitions)


def _positions(client: Client, settings: Settings) -> dict[int, int]:
    rows = client.query(
        "SELECT partition, max(next_offset) FROM ledger WHERE row_kind = 'marker' AND topic = {topic:String} "
        "GROUP BY partition",
        parameters={"topic": settings.topic},
    ).result_rows
    return {int(partition): int(offset) for partition, offset in rows}


def _committed(client: Client, settings: Settings) -> int:
    return _sum(client, settings, "records")


def _sum(client: Client, settings: Settings, column: str) -> int:
    query = f"SELECT sum({column}) FROM ledger WHERE row_kind = 'marker' AND topic = {{topic:String}}"
    return int(client.query(query, parameters={"topic": settings.topic}).result_rows[0][0])
