"""Sending what dead processes left in a source's folder, without a client of that source."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleetmeter_producers.errors import SpoolError
from fleetmeter_producers.kafka import Connect, connect
from fleetmeter_producers.sender import Sender
from fleetmeter_producers.settings import ClientSettings
from fleetmeter_producers.spool.inspection import left_by_the_dead
from fleetmeter_producers.spool.outbox import SpoolOutbox
from fleetmeter_producers.spool.place import read_about

_LOOK_EVERY_S: Final = 0.2
_STOP_WAIT_S: Final = 10.0
_NO_SEGMENTS: Final = 1 << 20  # nothing is appended here


@dataclass(frozen=True, slots=True)
class Drained:
    """`sent` events the broker has acknowledged; `left` ones it has not, because of `last_error` or for lack of time.
    `damaged` ones can't be read."""

    folder: Path
    source: str
    topic: str
    sent: int
    left: int
    damaged: int
    last_error: str | None


def drain_spool(
    folder: Path,
    bootstrap: str,
    *,
    timeout_s: float,
    settings: ClientSettings | None = None,
    connect: Connect = connect,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Drained:
    """Send what dead processes left in the folder of one source, for at most `timeout_s`. What living ones have there
    is theirs to send. `progress` gets events sent and found so far.

    Raises `SpoolError` if the folder, or what is left in it at the end, can't be read. Safe to kill, and to run twice
    at once.
    """
    settings = settings or ClientSettings(outbox="memory")
    try:
        source, topic = read_about(folder)
    except (OSError, ValueError) as error:
        raise SpoolError(f"{folder} is not the folder of a source in a spool: {error}") from error
    outbox = SpoolOutbox(folder, limit_bytes=_NO_SEGMENTS, segment_bytes=_NO_SEGMENTS, reserve_bytes=0)
    sender = Sender(
        outbox,
        topic,
        source.encode(),
        settings.librdkafka(bootstrap),
        connect=connect,
        retry_wait_s=settings.retry_wait_s,
        retry_wait_limit_s=settings.retry_wait_limit_s,
    )
    deadline = time.monotonic() + timeout_s
    sender.start()
    sender.hurry()
    while not outbox.nothing_to_send() and time.monotonic() < deadline:
        progress(sender.delivered, outbox.recovered)
        time.sleep(_LOOK_EVERY_S)
    progress(sender.delivered, outbox.recovered)
    left = 0
    if sender.stop(_STOP_WAIT_S):
        outbox.close()
    else:
        left = outbox.pending().events
    try:
        left += left_by_the_dead(folder)  # what there was no time to begin with, too
    except OSError as error:
        raise SpoolError(
            f"{sender.delivered} events of the spool in {folder} were sent; what is left can't be read: {error}"
        ) from error
    return Drained(folder, source, topic, sender.delivered, left, outbox.damaged, sender.last_error)
