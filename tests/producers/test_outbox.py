"""The outbox's contract, on the implementation in memory."""

import threading
from collections.abc import Callable

from fleetmeter_producers.outbox import ENTRY_OVERHEAD_BYTES, MemoryOutbox, Pending
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

LIMIT = 10 * (ENTRY_OVERHEAD_BYTES + 10)


def in_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(work()))
    thread.start()
    return thread, answers


def test_entries_are_taken_in_order_and_stay_until_acknowledged() -> None:
    outbox = MemoryOutbox(LIMIT)
    assert all(outbox.append(value, 0) for value in (b"a", b"bb", b"ccc"))
    first = outbox.take(2, 0)
    assert [value for _, value in first] == [b"a", b"bb"]
    assert outbox.pending() == Pending(3, 6 + 3 * ENTRY_OVERHEAD_BYTES)
    outbox.acknowledge([first[1].position])
    assert outbox.pending() == Pending(2, 4 + 2 * ENTRY_OVERHEAD_BYTES)
    assert [value for _, value in outbox.take(9, 0)] == [b"ccc"]
    assert outbox.take(9, 0) == []


def test_what_was_given_back_comes_before_newer_entries_in_its_old_order() -> None:
    outbox = MemoryOutbox(LIMIT)
    for value in (b"a", b"b", b"c", b"d"):
        outbox.append(value, 0)
    taken = outbox.take(3, 0)
    outbox.give_back([taken[2].position, taken[0].position])
    assert [value for _, value in outbox.take(9, 0)] == [b"a", b"c", b"d"]


def test_the_limit_counts_bookkeeping_too() -> None:
    outbox = MemoryOutbox(2 * (ENTRY_OVERHEAD_BYTES + 10))
    assert outbox.append(b"x" * 10, 0)
    assert not outbox.append(b"x" * 11, 0)
    assert outbox.append(b"x" * 10, 0)
    assert not outbox.append(b"", 0)


def test_append_waits_for_room_and_take_for_work() -> None:
    outbox = MemoryOutbox(ENTRY_OVERHEAD_BYTES + 10)
    taker, taken = in_thread(lambda: outbox.take(1, 30))
    assert outbox.append(b"first", 0)
    taker.join(10)
    appender, appended = in_thread(lambda: outbox.append(b"second", 30))
    outbox.acknowledge([taken[0][0].position])  # type: ignore[index]
    appender.join(10)
    assert appended == [True]
    assert [value for _, value in outbox.take(1, 0)] == [b"second"]


def test_append_gives_up_in_time() -> None:
    outbox = MemoryOutbox(ENTRY_OVERHEAD_BYTES)
    assert outbox.append(b"", 0)
    assert not outbox.append(b"", 0.01)
    assert outbox.pending().events == 1


def test_wake_ends_a_wait() -> None:
    outbox = MemoryOutbox(LIMIT)
    taker, taken = in_thread(lambda: outbox.take(1, 30))
    outbox.wake()
    taker.join(10)
    assert taken == [[]]


def test_draining_waits_for_what_was_there_and_for_nothing_newer() -> None:
    outbox = MemoryOutbox(LIMIT)
    assert outbox.wait_drained(0)
    outbox.append(b"old", 0)
    assert not outbox.wait_drained(0.01)
    old = outbox.take(1, 0)[0]
    waiter, drained = in_thread(lambda: outbox.wait_drained(30))
    while not outbox._drain._waiters:  # type: ignore[attr-defined]
        pass
    outbox.append(b"new", 0)
    outbox.acknowledge([old.position])
    waiter.join(10)
    assert drained == [True]
    assert outbox.pending().events == 1


class OutboxMachine(RuleBasedStateMachine):
    """Any sequence of calls against a model: a list of values, each waiting, taken, or gone."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = MemoryOutbox(LIMIT)
        self.waiting: list[int] = []
        self.taken: set[int] = set()
        self.values: dict[int, bytes] = {}
        self.appended = 0

    @rule(value=st.binary(max_size=40))
    def append(self, value: bytes) -> None:
        used = sum(len(kept) + ENTRY_OVERHEAD_BYTES for kept in self.values.values())
        fits = used + len(value) + ENTRY_OVERHEAD_BYTES <= LIMIT
        assert self.outbox.append(value, 0) == fits
        if fits:
            self.values[self.appended] = value
            self.waiting.append(self.appended)
            self.appended += 1

    @rule(most=st.integers(1, 5))
    def take(self, most: int) -> None:
        expected, self.waiting = self.waiting[:most], self.waiting[most:]
        self.taken |= set(expected)
        assert self.outbox.take(most, 0) == [(position, self.values[position]) for position in expected]

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        position = data.draw(st.sampled_from(sorted(self.taken)))
        self.taken.remove(position)
        del self.values[position]
        self.outbox.acknowledge([position])

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        positions = data.draw(st.lists(st.sampled_from(sorted(self.taken)), unique=True))
        self.taken -= set(positions)
        self.waiting = sorted(positions) + self.waiting
        self.outbox.give_back(positions)

    @invariant()
    def nothing_is_lost(self) -> None:
        used = sum(len(value) + ENTRY_OVERHEAD_BYTES for value in self.values.values())
        assert self.outbox.pending() == Pending(len(self.values), used)


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
