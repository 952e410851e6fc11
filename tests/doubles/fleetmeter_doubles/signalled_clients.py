"""Clients whose process is told to end while they emit: a handler of the signal closes them. Run as a program.

A process of its own, because a signal is the whole process's: what other tests have loaded there must not answer
it, nor may coverage.py's tracer, which takes a lock at each call, wait for ever for what it interrupted itself.
"""

from __future__ import annotations

import faulthandler
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Final

from fleetmeter_producers import ClientClosedError, ClientSettings, UsageClient
from fleetmeter_schemas import GenerationV1

from fleetmeter_doubles.kafka_broker import FakeBroker

GENERATION: Final = GenerationV1(model="llada-8b-instruct", generation_mode="diffusion", output_tokens=128)
DEADLINE_S: Final = 60.0


def emit_until_signalled(spool_dir: Path, after_s: float) -> tuple[list[str], list[str]]:
    """The ids that `emit` gave, and those that the broker has when the client is closed. AssertionError if events are
    left."""
    broker, ids = FakeBroker(), list[str]()
    settings = ClientSettings(spool_dir=spool_dir)
    client = UsageClient("kafka:9092", "urn:test", settings=settings, connect=broker.connect)
    signal.signal(signal.SIGUSR1, lambda *_: client.close(DEADLINE_S))
    main = threading.main_thread().ident
    timer = threading.Timer(after_s, signal.pthread_kill, (main, signal.SIGUSR1))
    timer.start()
    with suppress(ClientClosedError):
        while True:
            ids.append(client.emit("a", GENERATION))
    timer.join()
    assert client.stats().pending_events == 0
    return ids, broker.ids()


def main() -> None:
    """Arguments: a folder, how many clients, a seed."""
    folder, count, rng = Path(sys.argv[1]), int(sys.argv[2]), Random(int(sys.argv[3]))
    faulthandler.dump_traceback_later(2 * DEADLINE_S, exit=True)
    for number in range(count):
        ids, arrived = emit_until_signalled(folder / str(number), rng.uniform(0.001, 0.02))
        assert set(ids) <= set(arrived)
        assert len(arrived) - len(ids) <= 1  # its emit was accepted, and the next one told that it is closed
    print(f"{count} closed")


if __name__ == "__main__":
    main()
