"""Whatever runs in the middle of a client's own work and emits, in the same thread, neither hangs nor is lost.

Garbage collection does: it may begin wherever something is allocated, and close a stream that its caller dropped, whose
usage is then emitted. So may a handler of a signal.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import SystemRandom
from typing import Any

import pytest
from fleetmeter_doubles.kafka_broker import FakeBroker
from fleetmeter_producers import ClientClosedError, ClientSettings, MemoryOutbox, Pending, UsageClient
from fleetmeter_producers.outbox import Entry
from fleetmeter_schemas import GenerationV1

GENERATION = GenerationV1(model="llada-8b-instruct", generation_mode="diffusion", output_tokens=128)
DEADLINE_S = 60.0
SIGNALS = 40
InTime = Callable[[Callable[[], object]], None]


class Interrupted(MemoryOutbox):
    """Calls `then`, once, while its lock is held."""

    def __init__(self, method: str, then: Callable[[], object]) -> None:
        super().__init__(1 << 20)
        self._method: str | None = method
        self._then = then
        self._lock = Watched(self._lock, self)  # type: ignore[assignment]
        self._work = threading.Condition(self._lock)
        self.calling = ""

    def locked(self) -> None:
        if self.calling == self._method:
            self._method = None
            self._then()

    def append(self, value: bytes, wait_s: float) -> bool:
        with self._during("append"):
            return super().append(value, wait_s)

    def take(self, most: int, wait_s: float) -> list[Entry]:
        with self._during("take"):
            return super().take(most, wait_s)

    def pending(self) -> Pending:
        with self._during("pending"):
            return super().pending()

    @contextmanager
    def _during(self, method: str) -> Iterator[None]:
        if self._method == method:
            self.calling = method
        yield
        self.calling = ""


class Watched:
    """A lock that says when it is held."""

    def __init__(self, lock: Any, outbox: Interrupted) -> None:
        self._lock, self._outbox = lock, outbox

    def acquire(self, *how: Any) -> bool:
        got: bool = self._lock.acquire(*how)
        if got:
            try:
                self._outbox.locked()
            except BaseException:
                self._lock.release()  # as `with` does for what is raised inside of it
                raise
        return got

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class Dropped:
    """A stream that its caller dropped, in a circle of references: only garbage collection finds it."""

    def __init__(self, client: UsageClient, ids: list[str]) -> None:
        self.me, self._client, self._ids = self, client, ids

    def __del__(self) -> None:
        self._ids.append(self._client.emit("dropped", GENERATION))


@pytest.fixture
def in_time() -> Iterator[InTime]:
    """Runs something in a thread that must end."""

    def run(what: Callable[[], object]) -> None:
        thread = threading.Thread(target=what, daemon=True)
        thread.start()
        thread.join(DEADLINE_S)
        assert not thread.is_alive(), "it hangs"

    gc.disable()  # it comes where the test wants it
    yield run
    gc.enable()


@pytest.mark.parametrize("method", ["append", "take", "pending"])
def test_usage_that_garbage_collection_emits_in_the_middle_of_the_client_s_work(method: str, in_time: InTime) -> None:
    broker, ids = FakeBroker(), list[str]()
    collected = threading.Event()

    def collect() -> None:
        gc.collect()
        collected.set()

    client = UsageClient(
        "kafka:9092", "urn:test", connect=broker.connect, open_outbox=lambda: Interrupted(method, collect)
    )
    Dropped(client, ids)

    def work() -> None:
        ids.append(client.emit("a", GENERATION))
        client.stats()
        assert collected.wait(DEADLINE_S)
        assert client.close(DEADLINE_S).events == 0

    in_time(work)
    assert len(ids) == len(set(ids)) == 2
    assert sorted(broker.ids()) == sorted(ids)
    assert (client.stats().emitted, client.stats().delivered, client.stats().dropped) == (2, 2, 0)


def test_what_interrupts_an_emit_is_in_the_outbox_when_that_emit_returns(in_time: InTime) -> None:
    """So a kill can take it only within that call, as it can any event that is not accepted yet."""
    broker, ids, outbox = FakeBroker(), list[str](), Interrupted("append", gc.collect)
    may_send = threading.Event()

    def connect(config: Any) -> Any:
        assert may_send.wait(DEADLINE_S)  # until then the thread that sends gets no turn
        return broker.connect(config)

    client = UsageClient("kafka:9092", "urn:test", connect=connect, open_outbox=lambda: outbox)
    Dropped(client, ids)
    in_time(lambda: client.emit("a", GENERATION))
    assert len(ids) == 1
    assert outbox.pending().events == 2
    may_send.set()
    assert client.close(DEADLINE_S).events == 0


def test_what_interrupts_a_client_that_never_sent_is_sent_when_it_is_closed(
    in_time: InTime,
) -> None:
    broker, ids = FakeBroker(), list[str]()
    client = UsageClient(
        "kafka:9092", "urn:test", connect=broker.connect, open_outbox=lambda: Interrupted("pending", gc.collect)
    )
    Dropped(client, ids)
    in_time(client.stats)
    in_time(lambda: client.close(DEADLINE_S))
    assert broker.ids() == ids != []


def test_what_interrupts_when_there_is_no_room_is_counted_as_dropped(
    in_time: InTime,
) -> None:
    broker, ids = FakeBroker(), list[str]()
    broker.away = True

    class Full(Interrupted):
        def append(self, value: bytes, wait_s: float) -> bool:
            return super().append(value, wait_s) if b'"dropped"' not in value else False

    settings = ClientSettings(outbox="memory", when_full="raise")
    client = UsageClient(
        "kafka:9092", "urn:t", settings=settings, connect=broker.connect, open_outbox=lambda: Full("append", gc.collect)
    )
    Dropped(client, ids)
    in_time(lambda: client.emit("a", GENERATION))
    in_time(lambda: client.close(0))
    assert len(ids) == 1
    assert (client.stats().emitted, client.stats().dropped) == (1, 1)


@pytest.mark.parametrize("method", ["append", "pending"])
def test_a_handler_that_closes_in_the_middle_of_a_call_has_it_closed_when_the_call_ends(
    method: str, in_time: InTime
) -> None:
    broker, told = FakeBroker(), list[tuple[int, int]]()

    def handler() -> None:
        told.append((client.close(DEADLINE_S).events, client.flush(DEADLINE_S).events))
        assert client.stats().pending_bytes == 0
        raise SystemExit

    client = UsageClient(
        "kafka:9092", "urn:test", connect=broker.connect, open_outbox=lambda: Interrupted(method, handler)
    )
    calls = {"append": lambda: client.emit("a", GENERATION), "pending": client.stats}

    def work() -> None:
        if method == "pending":
            client.emit("a", GENERATION)
        with pytest.raises(SystemExit):
            calls[method]()
        with pytest.raises(ClientClosedError):
            client.emit("a", GENERATION)

    in_time(work)
    assert len(told) == 1
    assert (client.stats().delivered, len(broker.ids())) == ((0, 0) if method == "append" else (1, 1))


def test_what_is_collected_in_the_thread_that_sends_may_close_its_client(in_time: InTime) -> None:
    broker, closing = FakeBroker(), threading.Event()

    def close() -> None:
        client.close(DEADLINE_S)
        closing.set()

    client = UsageClient(
        "kafka:9092", "urn:test", connect=broker.connect, open_outbox=lambda: Interrupted("take", close)
    )

    def work() -> None:
        client.emit("a", GENERATION)
        assert closing.wait(DEADLINE_S)
        assert client.close(DEADLINE_S).events == 0

    in_time(work)
    assert len(broker.ids()) == 1


def test_a_signal_s_handler_closes_a_client_that_emits(tmp_path: Path) -> None:
    """At whatever moment of an `emit` the signal comes: it ends, and the broker has what was accepted."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("COV")},
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    seed = SystemRandom().randrange(10**9)
    told = subprocess.run(
        [sys.executable, "-m", "fleetmeter_doubles.signalled_clients", str(tmp_path), str(SIGNALS), str(seed)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stdout) == (0, f"{SIGNALS} closed\n"), f"seed {seed}: {told.stderr}"
