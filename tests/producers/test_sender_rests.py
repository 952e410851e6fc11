"""The thread that sends rests between its turns, but not when somebody waits, nor when the outbox fills."""

from collections.abc import Callable, Iterator, Sequence

import pytest
from fleetmeter_doubles.kafka_broker import FakeBroker
from fleetmeter_producers import UsageClient, sender
from fleetmeter_producers.outbox import Entry, MemoryOutbox
from fleetmeter_producers.packing import Record, one_each
from fleetmeter_producers.sender import Sender
from fleetmeter_schemas import GenerationV1

GENERATION = GenerationV1(model="llada-8b-instruct", generation_mode="diffusion", output_tokens=128)
FOR_EVER_S = 3600.0
ROOM = 20_000
ENTRY_BYTES = 400  # with bookkeeping


@pytest.fixture(autouse=True)
def long_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rest that nothing ends lasts longer than any test; ten events are many."""
    monkeypatch.setattr(sender, "_REST_S", FOR_EVER_S)
    monkeypatch.setattr(sender, "_REST_LIMIT_S", FOR_EVER_S)
    monkeypatch.setattr(sender, "_TAKE", 10)


class Sending:
    """A sender whose broker is away, and how many events it took in each of its turns."""

    def __init__(self, broker: FakeBroker) -> None:
        broker.away = True
        self.outbox = MemoryOutbox(ROOM)
        self.turns: list[int] = []
        self.firsts = 0
        self.sender = Sender(
            self.outbox,
            "usage",
            b"key",
            {},
            connect=broker.connect,
            retry_wait_s=0.001,
            retry_wait_limit_s=0.01,
            pack=self._pack,
            first=self._note_first,
        )

    def append(self, events: int) -> None:
        """Put events into the outbox."""
        for _ in range(events):
            assert self.outbox.append(b"x" * 144, 0)

    def _note_first(self) -> None:
        self.firsts += 1

    def _pack(self, entries: Sequence[Entry]) -> Iterator[Record]:
        self.turns.append(len(entries))
        return one_each(entries)


@pytest.fixture
def sending(broker: FakeBroker) -> Iterator[Sending]:
    one = Sending(broker)
    yield one
    assert one.sender.stop(10)


def test_while_records_are_in_flight_events_gather(broker: FakeBroker, sending: Sending) -> None:
    sending.append(1)
    sending.sender.start()
    broker.wait_for(lambda: broker.queued == 1)
    for _ in range(9):
        sending.append(1)
    sending.sender.hurry()
    broker.wait_for(lambda: broker.queued == 10)
    assert sending.turns == [1, 9]


def test_who_is_in_a_hurry_ends_the_rests_until_all_is_on_its_way(broker: FakeBroker, sending: Sending) -> None:
    sending.append(25)
    assert not sending.outbox.is_filling()
    sending.sender.start()
    broker.wait_for(lambda: broker.queued == 10)
    sending.sender.hurry()
    broker.wait_for(lambda: broker.queued == 25)
    assert sending.turns == [10, 10, 5]


def test_no_rest_while_the_outbox_fills(broker: FakeBroker, sending: Sending) -> None:
    sending.append(26)
    assert sending.outbox.is_filling()
    sending.sender.start()
    broker.wait_for(lambda: broker.queued == 26)
    broker.away = False
    broker.wait_for(lambda: not sending.outbox.pending().events)


def test_while_the_queue_of_kafka_s_library_is_full_what_was_set_aside_is_taken_in(
    broker: FakeBroker, sending: Sending
) -> None:
    broker.queue_limit = 1
    sending.append(2)
    sending.sender.start()
    broker.wait_for(lambda: sending.firsts >= 3)
    assert (sending.turns, broker.queued) == ([2], 1), "its first turn goes on"


def test_an_outbox_fills_from_half_of_its_room() -> None:
    outbox = MemoryOutbox(ROOM)
    while not outbox.is_filling():
        assert outbox.append(b"x" * 144, 0)
    assert outbox.pending().bytes == ROOM / 2 + ENTRY_BYTES
    outbox.acknowledge([entry.position for entry in outbox.take(1, 0)])
    assert not outbox.is_filling()


def resting_client(broker: FakeBroker, make_client: Callable[..., UsageClient]) -> UsageClient:
    """One whose first event is with Kafka's library, and not delivered."""
    broker.away = True
    client = make_client()
    client.emit("a", GENERATION)
    broker.wait_for(lambda: broker.queued == 1)
    client.emit("a", GENERATION)
    return client


def test_a_flush_ends_the_rest(broker: FakeBroker, make_client: Callable[..., UsageClient]) -> None:
    client = resting_client(broker, make_client)
    broker.away = False
    client.flush(0)
    broker.wait_for(lambda: len(broker.log) == 2)


def test_closing_ends_the_rest(broker: FakeBroker, make_client: Callable[..., UsageClient]) -> None:
    assert resting_client(broker, make_client).close(0).events == 2
