"""A client whose broker goes away for minutes and comes back: memory, spool and catching up, and whether all arrived.

The client is a process of its own that emits at a steady rate from the beginning to the end; the broker is a real Kafka
that is stopped and started again. At the end the log is read: each id must be there, from the first to the last.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from fleetmeter_local import RunningKafka
from fleetmeter_producers import ClientSettings, UsageClient

from fleetmeter_bench.client_speed import an_event

SAMPLE_EVERY_S: Final = 1.0
_WARM_S: Final = 10.0
_AFTER_S: Final = 5.0
_CATCH_UP_LIMIT_S: Final = 600.0
_CLOSE_S: Final = 60.0
_MIB: Final = 2**20


@dataclass(frozen=True)
class Sample:
    """A client at one moment: seconds since it began, MiB of memory and of files, events."""

    seconds: float
    rss_mib: float
    spool_mib: float
    emitted: int
    delivered: int
    waiting: int


@dataclass(frozen=True)
class Away:
    """`samples` once a second. The broker was away from `gone_s` to `back_s`; `catch_up_s` after it was back, less than
    a second's worth of events waited. `in_log` records hold `distinct` ids; `missing` ids are not there."""

    events_per_s: float
    minutes: float
    gone_s: float
    back_s: float
    catch_up_s: float
    emitted: int
    dropped: int
    in_log: int
    distinct: int
    missing: int
    samples: list[Sample]

    def while_away(self) -> list[Sample]:
        """The second half of the absence: by then the client has taken what memory it takes."""
        return [one for one in self.samples if (self.gone_s + self.back_s) / 2 <= one.seconds <= self.back_s]


def broker_away(
    kafka: RunningKafka,
    topic: str,
    folder: Path,
    *,
    events_per_s: float,
    minutes: float,
    tell: Callable[[str], None] = lambda _line: None,
) -> Away:
    """Run it; takes `minutes`, and the time to catch up. `kafka` is stopped and started: it must be nobody else's."""
    with _client(kafka.bootstrap, topic, folder, events_per_s) as client:
        client.wait_until(lambda now: now.seconds >= _WARM_S and now.waiting < events_per_s, _CATCH_UP_LIMIT_S)
        kafka.stop()
        gone = client.now()
        tell(f"gone after {gone.seconds:.0f} s, memory {gone.rss_mib:.0f} MiB")
        client.wait_until(lambda now: now.seconds >= gone.seconds + 60 * minutes, 60 * minutes + 60)
        kafka.restart()
        back = client.now()
        tell(f"back after {back.seconds:.0f} s, {back.waiting:,} wait, {back.spool_mib:.0f} MiB of spool")
        level = client.wait_until(lambda now: now.waiting < events_per_s, _CATCH_UP_LIMIT_S)
        client.wait_until(lambda now: now.seconds >= level.seconds + _AFTER_S, 2 * _CATCH_UP_LIMIT_S)
        result = client.end()
    numbers, in_log = read_ids(kafka.bootstrap, topic, result["incarnation"])
    return Away(
        events_per_s=events_per_s,
        minutes=minutes,
        gone_s=gone.seconds,
        back_s=back.seconds,
        catch_up_s=round(level.seconds - back.seconds, 1),
        emitted=result["emitted"],
        dropped=result["dropped"],
        in_log=in_log,
        distinct=len(numbers),
        missing=len(set(range(result["emitted"])) - numbers),
        samples=client.samples,
    )


def read_ids(bootstrap: str, topic: str, incarnation: str) -> tuple[set[int], int]:
    """(Sequences of the incarnation's ids, number of records) in the topic's only partition."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "away", "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    numbers: set[int] = set()
    records = 0
    try:
        while (message := consumer.poll(30)) is not None:
            if message.error():
                return numbers, records
            records += 1
            ulid, _, sequence = orjson.loads(message.value())["id"].partition("-")
            if ulid == incarnation:
                numbers.add(int(sequence))
        raise RuntimeError("Kafka does not answer any more")
    finally:
        consumer.close()


class _Client:
    """The client's process, as the bench sees it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.samples: list[Sample] = []
        self._process = process
        self._heard = threading.Condition()
        self._result: dict[str, Any] | None = None
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def now(self) -> Sample:
        """The newest sample."""
        return self.wait_until(lambda _now: True, _CLOSE_S)

    def wait_until(self, holds: Callable[[Sample], bool], limit_s: float) -> Sample:
        """The first sample from now on for which it holds. Raises RuntimeError if there is none in time."""
        seen = len(self.samples)
        with self._heard:
            if not self._heard.wait_for(
                lambda: (len(self.samples) > seen and holds(self.samples[-1])) or not self._listener.is_alive(), limit_s
            ):
                raise RuntimeError(f"not within {limit_s:.0f} s; the last sample is {self.samples[-1:]}")
            if not self._listener.is_alive():
                raise RuntimeError(f"the client ended with code {self._process.wait(_CLOSE_S)}")
            return self.samples[-1]

    def end(self) -> dict[str, Any]:
        """Let it stop emitting and close; what it says then."""
        stdin: IO[str] | None = self._process.stdin
        assert stdin is not None
        stdin.close()
        self._listener.join(2 * _CLOSE_S)
        if self._result is None:
            raise RuntimeError("the client said nothing when it was closed")
        return self._result

    def _listen(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        for line in stdout:
            said = json.loads(line)
            with self._heard:
                if "incarnation" in said:
                    self._result = said
                else:
                    self.samples.append(Sample(**said))
                self._heard.notify_all()
        with self._heard:
            self._heard.notify_all()


@contextmanager
def _client(bootstrap: str, topic: str, folder: Path, events_per_s: float) -> Iterator[_Client]:
    options = {"bootstrap": bootstrap, "topic": topic, "folder": str(folder), "events_per_s": events_per_s}
    process = subprocess.Popen(
        [sys.executable, "-m", "fleetmeter_bench.broker_away", json.dumps(options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    try:
        yield _Client(process)
    finally:
        process.kill()
        process.wait(_CLOSE_S)


def _run_client(bootstrap: str, topic: str, folder: str, events_per_s: float) -> None:
    """In its own process: emit until standard input ends, and say once a second how things are."""
    settings = ClientSettings(spool_dir=Path(folder))
    client, event = UsageClient(bootstrap, "urn:bench:away", topic, settings=settings), an_event()
    over = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    emitted, sample_at, began = 0, 0.0, time.monotonic()
    while not over.is_set():
        passed = time.monotonic() - began
        while emitted < passed * events_per_s:
            client.emit("acct-1", event)
            emitted += 1
        if passed >= sample_at:
            stats = client.stats()
            _say(
                seconds=round(passed, 2),
                rss_mib=rss_mib(),
                spool_mib=round(_bytes_in(Path(folder)) / _MIB, 1),
                emitted=stats.emitted,
                delivered=stats.delivered,
                waiting=stats.pending_events,
            )
            sample_at += SAMPLE_EVERY_S
        over.wait(0.002)
    client.close(_CLOSE_S)
    stats = client.stats()
    _say(incarnation=stats.incarnation, emitted=stats.emitted, dropped=stats.dropped, waiting=stats.pending_events)


def rss_mib() -> float:
    """Resident memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # delivered meanwhile
            continue
    return total


def _say(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _run_client(**json.loads(sys.argv[1]))
