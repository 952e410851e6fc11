"""The outbox on disk: its contract under any order of calls and crashes, its limits, and who sends what dead processes
left."""

import itertools
import os
import shutil
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fleetmeter_producers.outbox_choice import segment_bytes_for
from fleetmeter_producers.spool import SpoolOutbox
from fleetmeter_producers.spool.disk_sync import DiskSync
from fleetmeter_producers.spool.frame import frame, frame_bytes
from fleetmeter_producers.spool.home import homes_in
from fleetmeter_producers.spool.segment import Segment
from fleetmeter_producers.ulid import new_ulid
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

OPTIONS: dict[str, Any] = {"limit_bytes": 2**20, "segment_bytes": 4096, "reserve_bytes": 0}


def open_spool(folder: Path, **options: Any) -> SpoolOutbox:
    folder.mkdir(exist_ok=True)
    return SpoolOutbox(folder, **{**OPTIONS, **options})


def crash(outbox: SpoolOutbox) -> None:
    """As the end of a process: its files are closed, its locks are gone, nothing is written any more."""
    outbox.abandon()


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_what_a_dead_process_left_is_found(tmp_path: Path) -> None:
    first = open_spool(tmp_path)
    for number in range(500):
        assert first.append(b"%d" % number, 0)
    crash(first)
    second = open_spool(tmp_path)
    assert second.has_orphans()
    assert second.append(b"new", 0)
    entries = second.take(1000, 0)
    entries += second.take(1000, 0)
    assert [value for _, value in entries] == [b"%d" % number for number in range(500)] + [b"new"]
    assert (second.recovered, second.pending().events) == (500, 501)
    for position, _ in entries:
        second.acknowledge([position])
    assert second.pending() == (0, 0)
    assert second.wait_drained(0)
    second.close()
    assert files(tmp_path) == []


def test_a_living_process_keeps_its_own(tmp_path: Path) -> None:
    first, second = open_spool(tmp_path), open_spool(tmp_path)
    first.append(b"first", 0)
    second.append(b"second", 0)
    assert not open_spool(tmp_path).has_orphans()
    assert [value for _, value in second.take(10, 0)] == [b"second"]
    assert [value for _, value in first.take(10, 0)] == [b"first"]


def test_only_one_adopts(tmp_path: Path) -> None:
    dead = open_spool(tmp_path)
    for _ in range(20):
        dead.append(b"left", 0)
    crash(dead)
    heirs = [open_spool(tmp_path) for _ in range(4)]
    taken: list[int] = []
    threads = [threading.Thread(target=lambda heir=heir: taken.append(len(heir.take(99, 0)))) for heir in heirs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [0, 0, 0, 20]


def test_closing_leaves_what_is_not_acknowledged_and_spares_most_resends(tmp_path: Path) -> None:
    first = open_spool(tmp_path)
    for number in range(300):
        first.append(b"%03d" % number, 0)
    for position, _ in first.take(250, 0):
        first.acknowledge([position])
    first.close()
    second = open_spool(tmp_path)
    assert [value for _, value in second.take(999, 0)] == [b"%03d" % number for number in range(250, 300)]


def test_what_follows_a_mark_in_the_same_file_is_sent_after_a_crash(tmp_path: Path) -> None:
    seconds = itertools.count()
    first = open_spool(tmp_path, clock=lambda: float(next(seconds)))
    first.append(b"arrived", 0)
    first.acknowledge([position for position, _ in first.take(9, 0)])
    assert first.take(9, 0) == [], "a second later, the mark says that all has arrived"
    first.append(b"accepted", 0)
    crash(first)
    assert [value for _, value in open_spool(tmp_path).take(9, 0)] == [b"accepted"]


def test_files_go_while_the_client_lives(tmp_path: Path) -> None:
    outbox = open_spool(tmp_path)
    for _ in range(50):
        for _ in range(100):
            assert outbox.append(b"x" * 100, 0)
        for position, _ in outbox.take(1000, 0):
            outbox.acknowledge([position])
        [home] = homes_in(tmp_path)
        assert len(files(home)) <= 3, "lock, mark, and at most one segment"


def test_the_limit_is_one_of_the_files(tmp_path: Path) -> None:
    outbox = open_spool(tmp_path, limit_bytes=20_000)
    size = frame_bytes(b"x" * 88)
    fitted = 0
    while outbox.append(b"x" * 88, 0):
        fitted += 1
    assert fitted == 20_000 // size
    assert outbox.pending() == (fitted, fitted * size)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.seg")) <= 20_000
    assert outbox.trouble is None, "it is full, not in trouble"
    waiting = threading.Thread(target=lambda: outbox.append(b"x" * 88, 30))
    waiting.start()
    for position, _ in outbox.take(60, 0):
        outbox.acknowledge([position])
    waiting.join(10)
    assert not waiting.is_alive()


@pytest.mark.parametrize(
    ("limit_bytes", "segment_bytes"),
    [(2**20, 2**17), (2**26, 2**23), (2**30, 2**24), (2**32, 2**26), (2**35, 2**29), (2**40, 2**30)],
)
def test_a_spool_has_few_files_whatever_its_limit(limit_bytes: int, segment_bytes: int) -> None:
    """From 1 MiB to 1 TiB; a position in a file has 32 bits."""
    assert segment_bytes_for(limit_bytes) == segment_bytes


def test_some_of_the_disk_is_left_free(tmp_path: Path) -> None:
    outbox = open_spool(tmp_path, reserve_bytes=2**62)
    assert not outbox.append(b"x", 0)
    assert "to be left free" in str(outbox.trouble)


def test_a_folder_that_vanished_is_told_and_mended(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    outbox = open_spool(folder)
    shutil.rmtree(folder)
    assert outbox.append(b"x", 0), "made again"
    assert [value for _, value in outbox.take(9, 0)] == [b"x"]


# coverage.py's tracer takes a lock of its own at each call: what forks, or interrupts itself, may wait for it for ever.
@pytest.mark.no_cover
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_another_user_left_holds_nothing_up(tmp_path: Path) -> None:
    """As a server that somebody once started as root."""
    crash(kept := open_spool(tmp_path))
    kept.append(b"of root", 0)
    (tmp_path / f".{new_ulid()}").mkdir(mode=0o700)  # of one that ended while it made its folder
    crash(kept)
    readable, writable = os.pipe()
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o777)
    child = os.fork()
    if child == 0:
        try:
            os.setgid(65534)
            os.setuid(65534)
            spool = open_spool(tmp_path)
            told = [spool.has_orphans(), spool.append(b"mine", 0), [value for _, value in spool.take(9, 0)]]
            os.write(writable, repr(told).encode())
        except BaseException as error:  # noqa: BLE001  (nothing may leave the child)
            os.write(writable, repr(error).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(readable, 1000).decode() == "[False, True, [b'mine']]"


def test_damage_is_counted_and_the_rest_sent(tmp_path: Path) -> None:
    first = open_spool(tmp_path)
    for number in range(400):
        first.append(b"%04d" % number, 0)
    crash(first)
    segment = min(tmp_path.rglob("*.seg"))
    content = bytearray(segment.read_bytes())
    content[100] ^= 1
    segment.write_bytes(content)
    second = open_spool(tmp_path)
    got: list[bytes] = []
    while entries := second.take(100, 0):
        for position, value in entries:
            got.append(value)
            second.acknowledge([position])
    assert len(got) == 399
    assert (second.damaged, second.pending()) == (1, (0, 0))
    assert [name for name in files(tmp_path) if name.endswith(".damaged")] == [f"{segment.name}.damaged"]


def test_sync_waits_for_the_disk_and_threads_share_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fdatasync

    def fdatasync(fd: int) -> None:
        synced.append(os.fstat(fd).st_size)
        real(fd)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    outbox = open_spool(tmp_path, sync=True)
    assert outbox.append(b"one", 0)
    assert synced[-1] >= frame_bytes(b"one"), "it was in the file when the disk was told"
    threads = [threading.Thread(target=lambda: [outbox.append(b"x", 0) for _ in range(50)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert synced[-1] > 0
    assert outbox.pending().events == 401


def test_sync_forgets_no_file_that_others_have_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full, next_one = Segment.create(tmp_path, 1), Segment.create(tmp_path, 2)
    full.append(frame(b"the last one that had room"))
    next_one.append(frame(b"of another thread, which is the first to wait for the disk"))
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    sync = DiskSync()
    sync.wait(next_one, next_one.end)
    sync.wait(full, full.end)
    sync.wait(full, full.end)
    assert synced == [next_one.fd, full.fd]


class SpoolMachine(RuleBasedStateMachine):
    """Any order of calls, with crashes in between: nothing accepted is lost; what was acknowledged may come again only
    after a crash, and never as new."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.now_s = 0.0
        self.outbox = self.opened()
        self.owed: Counter[bytes] = Counter()
        self.arrived: Counter[bytes] = Counter()
        self.taken: dict[int, bytes] = {}
        self.number = 0

    def opened(self) -> SpoolOutbox:
        return open_spool(self.folder, segment_bytes=300, clock=lambda: self.now_s)

    def teardown(self) -> None:
        while entries := self.outbox.take(5, 0):
            for position, value in entries:
                self.note_arrival(position, value)
        for position, value in list(self.taken.items()):
            self.note_arrival(position, value)
        assert not +self.owed
        assert self.outbox.pending() == (0, 0)
        self.outbox.close()
        assert files(self.folder) == []
        shutil.rmtree(self.folder)

    def note_arrival(self, position: int, value: bytes) -> None:
        self.outbox.acknowledge([position])
        self.taken.pop(position, None)
        self.arrived[value] += 1
        if self.owed[value]:
            self.owed[value] -= 1

    @rule(size=st.integers(0, 120))
    def append(self, size: int) -> None:
        value = b"%d:" % self.number + b"x" * size
        self.number += 1
        assert self.outbox.append(value, 0)
        self.owed[value] += 1

    @rule(most=st.integers(1, 5), passed_s=st.sampled_from((0.0, 1.0, 30.0)))
    def take(self, most: int, passed_s: float) -> None:
        self.now_s += passed_s  # marks are written, and orphans looked for, now and then
        for position, value in self.outbox.take(most, 0):
            assert position not in self.taken
            self.taken[position] = value

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        position = data.draw(st.sampled_from(sorted(self.taken)))
        self.note_arrival(position, self.taken[position])

    @rule()
    def all_arrives(self) -> None:
        while entries := self.outbox.take(5, 0):
            self.taken.update(entries)
        for position, value in list(self.taken.items()):
            self.note_arrival(position, value)
        self.now_s += 1.0
        assert self.outbox.take(1, 0) == [], "and a mark says so"

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        positions = data.draw(st.lists(st.sampled_from(sorted(self.taken)), unique=True))
        for position in positions:
            del self.taken[position]
        self.outbox.give_back(positions)

    @rule(tidily=st.booleans())
    def end_and_start_again(self, tidily: bool) -> None:
        if tidily:
            self.outbox.close()
        else:
            crash(self.outbox)
        self.taken.clear()
        self.outbox = self.opened()

    @invariant()
    def pending_covers_what_is_owed(self) -> None:
        if not self.outbox.has_orphans():
            assert self.outbox.pending().events >= sum((+self.owed).values())


TestSpoolMachine = SpoolMachine.TestCase
TestSpoolMachine.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
