"""The file with a device's counts: shared, damaged, refused by the disk."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from fleetmeter_doubles.emitter import KeepingEmitter
from fleetmeter_producers import ProducerError
from fleetmeter_producers.device import DeviceReporter, counting
from fleetmeter_producers.device.traits import Counted

from .conftest import MODEL, FakeClock, report

Make = Callable[..., DeviceReporter]


# coverage.py's tracer takes a lock of its own at each call: what forks, or interrupts itself, may wait for it for ever.
@pytest.mark.no_cover
def test_processes_of_one_app_share_the_counts(make_reporter: Make, kept: KeepingEmitter, clock: FakeClock) -> None:
    reporter = make_reporter()
    reporter.count(MODEL.name)
    child = os.fork()
    if child == 0:
        counted = reporter.count(MODEL.name, queries=5)
        os._exit(0 if counted else 1)
    reporter.count(MODEL.name, queries=7)
    assert os.waitpid(child, 0)[1] == 0
    assert [data["queries"] for data in report(reporter, kept, clock)] == [13]


def test_a_damaged_file_is_set_aside(make_reporter: Make, tmp_path: Path, kept: KeepingEmitter) -> None:
    reporter = make_reporter()
    reporter.count(MODEL.name)
    reporter.close()
    (path,) = (tmp_path / "counts").iterdir()
    path.write_bytes(b"not a database, by any means" * 100)
    again = make_reporter()
    assert again.count(MODEL.name)
    assert again.report(kept) == 1
    assert path.with_name(f"{path.name}.damaged").exists()


def test_a_disk_that_refuses_costs_the_count_and_not_the_query(
    make_reporter: Make, monkeypatch: pytest.MonkeyPatch, kept: KeepingEmitter
) -> None:
    reporter = make_reporter()
    (limit,) = reporter._store._connection.execute("PRAGMA max_page_count=1").fetchone()  # type: ignore[union-attr]
    for number in range(5_000):
        if not reporter.deployed(MODEL.name, f"{number}.0"):
            break
    assert reporter.lost == 1
    reporter._store._connection.execute("PRAGMA max_page_count=100000")  # type: ignore[union-attr]
    assert limit < 100
    assert reporter.count(MODEL.name), "the transaction was given up, and the next one works"


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path, make_reporter: Make) -> None:
    reporter = make_reporter()
    reporter.close()
    (path,) = (tmp_path / "counts").iterdir()
    path.unlink()
    path.mkdir()
    with pytest.raises(ProducerError, match=r"the counts in .*\.counts can't be read or written"):
        make_reporter()


@pytest.mark.no_cover
def test_a_kill_between_making_a_report_and_forgetting_its_counts(
    make_reporter: Make, monkeypatch: pytest.MonkeyPatch, kept: KeepingEmitter
) -> None:
    """The moment at which a query would be there twice, or not at all, if this were not one transaction."""
    reporter = make_reporter()
    reporter.count(MODEL.name, queries=5)
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(counting, "drop_period", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        reporter.report(kept)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert reporter.report(kept) == 1
    assert kept.last["queries"] == 5


def test_what_interrupts_a_count_in_its_own_thread_does_not_hang(make_reporter: Make, kept: KeepingEmitter) -> None:
    """As a stream that garbage collection closes, whose end counts: it may come in the middle of another count."""
    reporter = make_reporter()
    with reporter._store.change() as (connection, now):
        counting.add(connection, counting.open_period(connection, now.wall_us), MODEL.name, "", Counted(queries=3))
        assert not reporter.count(MODEL.name, queries=100)
    assert reporter.lost == 1
    assert reporter.count(MODEL.name, queries=2)
    reporter.report(kept)
    assert kept.last["queries"] == 5
