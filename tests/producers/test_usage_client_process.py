"""The client and its process: fork, exit, import, and the real Kafka library."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from fleetmeter_doubles.kafka_broker import FakeBroker
from fleetmeter_producers import ClientSettings, MemoryOutbox, UsageClient
from fleetmeter_producers.kafka import connect
from fleetmeter_schemas import GenerationV1

GENERATION = GenerationV1(model="llada-8b-instruct", generation_mode="diffusion", output_tokens=128)


def run_forked(work: Callable[[], object]) -> object:
    """What `work` returns (as JSON) in a forked child."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, orjson.dumps(work()))
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        text = answer.read()
    assert os.waitpid(child, 0)[1] == 0
    return orjson.loads(text)


# coverage.py's tracer takes a lock of its own at each call: what forks, or interrupts itself, may wait for it for ever.
@pytest.mark.no_cover
def test_a_forked_child_is_an_incarnation_of_its_own() -> None:
    broker = FakeBroker()
    client = UsageClient("kafka:9092", "urn:s", connect=broker.connect)
    broker.away = True
    parents = [client.emit("a", GENERATION) for _ in range(3)]

    def in_child() -> dict[str, object]:
        broker.away = False
        ids = [client.emit("a", GENERATION) for _ in range(2)]
        left = client.close(60)
        sent = [orjson.loads(value or b"")["id"] for value in broker.values()]
        return {"ids": ids, "left": left.events, "sent": sent, "incarnation": client.stats().incarnation}

    child = run_forked(in_child)
    assert isinstance(child, dict)
    assert child["ids"] == [f"{child['incarnation']}-0", f"{child['incarnation']}-1"]
    assert child["incarnation"] != client.stats().incarnation
    assert (child["sent"], child["left"]) == (child["ids"], 0), "the parent's events are the parent's to send"
    broker.away = False
    assert client.emit("a", GENERATION) == f"{client.stats().incarnation}-3"
    assert client.close(60).events == 0
    assert [orjson.loads(value or b"")["id"] for value in broker.values()][:3] == parents


@pytest.mark.no_cover
def test_a_forked_child_ends_without_waiting_for_the_parent_s_kafka_threads() -> None:
    client = UsageClient("unused:1", "urn:s", settings=ClientSettings(kafka={"test.mock.num.brokers": 1}))
    client.emit("a", GENERATION)
    assert client.flush(60).events == 0

    def in_child() -> dict[str, int]:
        client.emit("a", GENERATION)
        return {"left": client.close(60).events, "delivered": client.stats().delivered}

    assert run_forked(in_child) == {"left": 0, "delivered": 1}
    client.emit("a", GENERATION)
    assert client.close(60).events == 0
    assert client.stats().delivered == 2


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


PRINTER = """
import sys
from fleetmeter_producers import ClientSettings, UsageClient
from fleetmeter_schemas import OutcomeV1

class Message:
    def offset(self): return 0

class Printer:
    def __init__(self, config): self.queue = []
    def produce(self, topic, value, key, on_delivery): self.queue.append((value, on_delivery))
    def poll(self, timeout):
        for value, report in self.queue:
            print(value.decode(), flush=True)
            report(None, Message())
        self.queue.clear()
    def __len__(self): return len(self.queue)

def emit_three():
    client = UsageClient("kafka:9092", "urn:s", connect=Printer, settings=ClientSettings(outbox="memory"))
    for _ in range(3):
        client.emit("a", OutcomeV1(name="done", quantity=1))
"""


@pytest.mark.parametrize(
    "how",
    [
        "emit_three()",
        # It ends by os._exit, without atexit.
        "import multiprocessing as m; w = m.get_context('fork').Process(target=emit_three); w.start(); w.join()",
    ],
    ids=["a program", "a worker of multiprocessing"],
)
def test_a_process_that_just_ends_still_drains(how: str) -> None:
    printed = run_python(PRINTER + how)
    assert len({orjson.loads(line)["id"] for line in printed.splitlines()}) == 3


def test_a_client_that_can_t_let_go_after_a_fork_still_has_ids_of_its_own_as_all_others_have() -> None:
    class Stuck(MemoryOutbox):
        def abandon(self) -> None:
            raise OSError("the disk is gone")

    broker = FakeBroker()
    clients = [
        UsageClient("kafka:9092", f"urn:{number}", open_outbox=lambda: Stuck(1 << 20), connect=broker.connect)
        for number in range(2)
    ]
    parents = [client.stats().incarnation for client in clients]
    children = run_forked(lambda: [client.stats().incarnation for client in clients])
    assert isinstance(children, list)
    assert len({*parents, *children}) == 4


def test_the_import_is_light() -> None:
    loaded = run_python("import sys, fleetmeter_producers; print(*sys.modules)").split()
    heavy = {"faust", "aiokafka", "pyarrow", "clickhouse_connect", "chdb", "typer", "rich", "confluent_kafka"}
    assert heavy.isdisjoint(name.partition(".")[0] for name in loaded)
    # The catalogue few producers use, and what finds files in packages is slow.
    assert {"fleetmeter_schemas.catalogue", "importlib.resources", "importlib.metadata"}.isdisjoint(loaded)


@pytest.mark.parametrize("options", [{"batch": "ndjson", "batch_bytes": 2**23}, {"event_limit_bytes": 2**23}])
def test_the_largest_record_has_room_in_the_smallest_buffer(options: dict[str, Any]) -> None:
    """The sender would wait for room for ever."""
    producer = connect(ClientSettings.of(send_buffer_bytes=2**20, **options).librdkafka(""))
    producer.produce("usage", b"x" * 2**23, b"k" * 1000, on_delivery=lambda _error, _message: None)
    assert len(producer) >= 1, "taken; errors about brokers count, too"
    producer.purge()


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_the_real_library_takes_our_settings(compression: str) -> None:
    """Against librdkafka's built-in mock cluster (which is good for small tests only)."""
    settings = ClientSettings.of(compression=compression, kafka={"test.mock.num.brokers": 3})
    client = UsageClient("unused:1", "urn:s", settings=settings)
    for _ in range(500):
        client.emit("a", GENERATION)
    assert client.close(30).events == 0
    assert client.stats().delivered == 500
