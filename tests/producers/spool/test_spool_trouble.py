"""Where the disk refuses, gives back less than it took, or has lost a spool's folder: nothing else is lost with it."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fleetmeter_producers.spool import SpoolOutbox
from fleetmeter_producers.spool.home import homes_in
from fleetmeter_producers.spool.place import prepare_source_folder, read_about


def open_spool(folder: Path) -> SpoolOutbox:
    return SpoolOutbox(folder, limit_bytes=2**20, segment_bytes=4096, reserve_bytes=0)


def open_files() -> int:
    """Of this process; where the system does not tell, 0."""
    folder = Path("/proc/self/fd")
    return sum(1 for _ in folder.iterdir()) if folder.exists() else 0


def refusing(real: Callable[..., Any], code: int, which: str = "") -> Callable[..., Any]:
    """A call of the system that fails for paths that end so."""

    def call(path: Any, *args: Any, **more: Any) -> Any:
        if str(path).endswith(which):
            raise OSError(code, os.strerror(code), str(path))
        return real(path, *args, **more)

    return call


def test_what_the_disk_gave_before_it_refused_is_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = open_spool(tmp_path)
    values = [b"%d" % number for number in range(10)]
    for value in values:
        outbox.append(value, 0)
    outbox.give_back([position for position, _ in outbox.take(5, 0)])
    real, reads = os.pread, 0

    def pread(fd: int, size: int, offset: int) -> bytes:
        nonlocal reads
        reads += 1
        if reads == 6:  # two reads for each that is read again
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(fd, size, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", pread)
        with pytest.raises(OSError, match="Input/output"):
            outbox.take(10, 0)
    entries = outbox.take(10, 0)
    assert [value for _, value in entries] == values
    outbox.acknowledge([position for position, _ in entries])
    assert outbox.pending() == (0, 0)


@pytest.mark.parametrize("kept_bytes", [0, 12 + 10, 100])
def test_events_that_a_file_has_lost_at_its_end_are_counted(tmp_path: Path, kept_bytes: int) -> None:
    """As a loss of power leaves it: nothing, whole entries, or half of one."""
    first = open_spool(tmp_path)
    for number in range(300):
        first.append(b"%010d" % number, 0)
    first.abandon()
    [segment] = tmp_path.rglob("*.seg")
    written = int(segment.name.partition("-")[2].partition(".")[0])
    os.truncate(segment, kept_bytes)
    second = open_spool(tmp_path)
    entries = second.take(999, 0)
    lost = written - kept_bytes // 22
    assert (len(entries), second.damaged, second.pending().events) == (300 - lost, lost, 300 - lost)
    second.acknowledge([position for position, _ in entries])
    assert second.pending() == (0, 0)


def test_a_process_that_can_open_no_more_files_goes_on_with_those_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = open_spool(tmp_path)
    outbox.append(b"x", 0)
    monkeypatch.setattr(Path, "iterdir", refusing(Path.iterdir, errno.EMFILE))
    assert [value for _, value in outbox.take(9, 0)] == [b"x"]


def test_an_outbox_whose_folder_vanished_can_be_closed(tmp_path: Path) -> None:
    outbox = open_spool(tmp_path)
    outbox.append(b"x", 0)
    outbox.acknowledge([position for position, _ in outbox.take(9, 0)])
    shutil.rmtree(tmp_path)
    outbox.close()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOLCK])
def test_a_folder_that_can_t_be_made_leaves_nothing_with_each_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    outbox = open_spool(tmp_path)
    before = open_files()
    with monkeypatch.context() as patch:
        if code == errno.EMFILE:
            patch.setattr(os, "open", refusing(os.open, code, "/lock"))
        else:
            patch.setattr("fcntl.flock", refusing(lambda: None, code))
        assert not any(outbox.append(b"x", 0) for _ in range(3))
    assert os.strerror(code) in str(outbox.trouble)
    assert list(tmp_path.iterdir()) == []
    assert open_files() == before
    assert outbox.append(b"x", 0)
    assert len(homes_in(tmp_path)) == 1


def test_a_folder_that_a_loss_of_power_has_left_nameless_is_named_again(tmp_path: Path) -> None:
    folder = prepare_source_folder(tmp_path, "urn:test:1", "usage")
    (folder / "about.json").write_bytes(b"")
    assert prepare_source_folder(tmp_path, "urn:test:1", "usage") == folder
    assert read_about(folder) == ("urn:test:1", "usage")


def test_containers_with_the_same_process_id_may_start_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, others = Path.replace, iter([tmp_path])

    def replace(self: Path, target: Path) -> Path:
        for folder in others:  # once; it is faster
            prepare_source_folder(folder, "urn:test:1", "usage")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    folder = prepare_source_folder(tmp_path, "urn:test:1", "usage")
    assert read_about(folder) == ("urn:test:1", "usage")
    assert [path.name for path in folder.iterdir()] == ["about.json"]
