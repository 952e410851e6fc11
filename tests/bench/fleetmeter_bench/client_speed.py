"""What `UsageClient.emit` costs the thread that calls it, beside confluent-kafka's bare `produce`.

Each figure comes from a process of its own, as a server would be: the caller's threads, the sender's thread and
librdkafka's share it, and the interpreter's lock.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from fleetmeter_producers import ClientSettings, UsageClient
from fleetmeter_producers.kafka import connect
from fleetmeter_producers.wire import encode_event
from fleetmeter_schemas import GenerationV1

_WARM_UP: Final = 500
BARE: Final = "none: produce()"
"""No client: the caller hands the same bytes to confluent-kafka itself, and a thread polls for what became of them, as
its documentation has it. What waits is lost with the process, and nothing is checked."""


@dataclass(frozen=True)
class EmitCost:
    """How long `emit` took, in microseconds, by share of the calls; and what was delivered at the end."""

    outbox: str
    threads: int
    paced_s: float
    emitted: int
    delivered: int
    p50_us: float
    p99_us: float
    p999_us: float


def emit_costs(bootstrap: str, topic: str, folder: Path, events: int) -> list[EmitCost]:
    """One thread as fast as it goes, one that emits every millisecond, and eight paced ones, by outbox."""
    costs = []
    for outbox, threads, pace_s, count in (
        (BARE, 1, 0.0, events),
        (BARE, 1, 0.001, events // 20),
        (BARE, 8, 0.01, events // 10),
        ("memory", 1, 0.0, events),
        ("spool", 1, 0.0, events),
        ("spool", 1, 0.001, events // 20),
        ("spool", 8, 0.01, events // 10),
        ("spool, synced", 1, 0.0, events // 20),
        ("spool, synced", 8, 0.01, events // 10),
    ):
        answer = _in_process(
            {
                "bootstrap": bootstrap,
                "topic": topic,
                "folder": str(folder),
                "outbox": outbox,
                "threads": threads,
                "pace_s": pace_s,
                "events": count,
            },
        )
        costs.append(EmitCost(**answer))
    return costs


def import_ms(tries: int = 15) -> float:
    """CPU time of `import fleetmeter_producers` in a new process, in ms: the median of some tries.

    With byte code, as pip leaves an installed package, whatever this process's environment says of it.
    """
    code = "import time; start = time.process_time(); import fleetmeter_producers; print(time.process_time() - start)"
    with tempfile.TemporaryDirectory() as byte_code:
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": byte_code}

        def once() -> float:
            command = [sys.executable, "-c", code]
            done = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
            return float(done.stdout) * 1000

        once()  # it compiles
        return statistics.median(once() for _ in range(tries))


def _in_process(options: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "fleetmeter_bench.client_speed", json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:3])} failed:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout))


def _client(bootstrap: str, topic: str, folder: str, outbox: str) -> UsageClient:
    settings = ClientSettings(
        outbox="memory" if outbox == "memory" else "spool",
        spool_dir=Path(folder) / outbox.replace(", ", "-"),
        spool_sync=outbox.endswith("synced"),
        when_full="raise",
    )
    return UsageClient(bootstrap, "urn:bench:server", topic, settings=settings)


def an_event() -> GenerationV1:
    """What is emitted: a usual one."""
    return GenerationV1(
        model="llada-8b-instruct",
        provider="acme",
        generation_mode="diffusion",
        region="eu-1",
        input_tokens=400,
        output_tokens=128,
        denoising_steps=23,
        function_evaluations=23,
        blocks=4,
        latency_ms=310,
    )


class _Bare:
    """confluent-kafka without a client."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._producer = connect(ClientSettings().librdkafka(bootstrap))
        self._topic, self._source, self._made = topic, "urn:bench:server", 0
        self.delivered = 0
        self._closed = threading.Event()
        self._poller = threading.Thread(target=self._poll, daemon=True)
        self._poller.start()

    def emit(self, account: str, event: GenerationV1) -> None:
        """The same bytes, without a check of them."""
        self._made += 1
        value = encode_event(
            event.TYPE, str(self._made), self._source, account, time.time_ns() // 1000, event.to_wire()
        )
        while True:
            try:
                self._producer.produce(self._topic, value, self._source.encode(), on_delivery=self._on_delivery)
            except BufferError:
                time.sleep(0.001)
            else:
                return

    def flush(self, timeout_s: float) -> None:
        """Wait until all has arrived."""
        deadline = time.monotonic() + timeout_s
        while len(self._producer) and time.monotonic() < deadline:
            time.sleep(0.001)

    def close(self, timeout_s: float) -> int:
        """Wait until all has arrived; returns how many."""
        self.flush(timeout_s)
        self._closed.set()
        self._poller.join()
        return self.delivered

    def _poll(self) -> None:
        while not self._closed.is_set():
            self._producer.poll(0.1)

    def _on_delivery(self, error: Any, _message: Any) -> None:
        self.delivered += error is None


class _Client:
    """The client, as measured here."""

    def __init__(self, bootstrap: str, topic: str, folder: str, outbox: str) -> None:
        self._client = _client(bootstrap, topic, folder, outbox)
        self.emit, self.flush = self._client.emit, self._client.flush

    def close(self, timeout_s: float) -> int:
        """Drain; returns how many events arrived."""
        self._client.close(timeout_s)
        return self._client.stats().delivered


def _emit(
    bootstrap: str, topic: str, folder: str, outbox: str, threads: int, pace_s: float, events: int
) -> dict[str, Any]:
    client = _Bare(bootstrap, topic) if outbox == BARE else _Client(bootstrap, topic, folder, outbox)
    event, emit = an_event(), client.emit
    for _ in range(_WARM_UP):
        emit("acct-1", event)
    client.flush(30)
    taken: list[list[int]] = [[] for _ in range(threads)]

    def call(mine: list[int]) -> None:
        now = time.perf_counter_ns
        for _ in range(events // threads):
            start = now()
            emit("acct-1", event)
            mine.append(now() - start)
            if pace_s:
                time.sleep(pace_s)

    callers = [threading.Thread(target=call, args=(mine,)) for mine in taken]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    delivered = client.close(60) - _WARM_UP
    times = sorted(ns for mine in taken for ns in mine)

    def at(share: float) -> float:
        return round(times[min(len(times) - 1, int(share * len(times)))] / 1000, 1)

    return asdict(EmitCost(outbox, threads, pace_s, len(times), delivered, at(0.5), at(0.99), at(0.999)))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_emit(**json.loads(sys.argv[1]))))
