"""A spool's file: what was appended is read again; what was damaged is noticed, and takes nothing else with it."""

import os
from pathlib import Path

import pytest
from fleetmeter_producers.spool.frame import HEADER, MARKER, frame
from fleetmeter_producers.spool.segment import Segment
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

VALUES = st.lists(st.one_of(st.binary(max_size=60), st.just(MARKER * 5)), min_size=1, max_size=12)
ANY_FILE = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


class SoftTimeLimit(Exception):
    """What a handler of a signal may raise, as Celery's does."""


def written(folder: Path, values: list[bytes]) -> Segment:
    for old in folder.glob("0*"):
        old.unlink()
    segment = Segment.create(folder, 1)
    for value in values:
        segment.append(frame(value))
    return segment


def read_all(segment: Segment, most: int = 3) -> list[bytes]:
    found: list[bytes] = []
    while segment.unread:
        reading = segment.read(most)
        segment.note_read(reading)
        found += [value for _, value in reading.entries]
    return found


def opened(path: Path) -> Segment:
    segment = Segment.open(path)
    assert segment is not None
    return segment


def test_entries_are_read_in_order_and_again_by_their_offset(tmp_path: Path) -> None:
    segment = written(tmp_path, [b"one", b"", b"three" * 1000])
    reading = segment.read(10)
    assert [value for _, value in reading.entries] == [b"one", b"", b"three" * 1000]
    assert [segment.value(offset) for offset, _ in reading.entries] == [b"one", b"", b"three" * 1000]
    assert [offset for offset, _ in segment.read(10).entries] == [offset for offset, _ in reading.entries], (
        "not noted yet"
    )
    segment.note_read(reading)
    assert not segment.unread
    segment.append(frame(b"four"))
    assert read_all(segment) == [b"four"]


def test_an_entry_larger_than_the_read_buffer(tmp_path: Path) -> None:
    large = bytes(range(256)) * 4096
    assert read_all(written(tmp_path, [b"a", large, b"b"])) == [b"a", large, b"b"]


def test_a_sealed_file_tells_its_entries_without_being_read(tmp_path: Path) -> None:
    segment = written(tmp_path, [b"a", b"b", b"c"])
    segment.seal()
    assert segment.path.name == "00000001-000000003.seg"
    segment.close()
    again = opened(segment.path)
    assert (again.entries, again.sealed, read_all(again)) == (3, True, [b"a", b"b", b"c"])


def test_other_files_are_not_segments(tmp_path: Path) -> None:
    for name in ("lock", "mark", "00000001-000000003.seg.damaged", "1.open"):
        (tmp_path / name).write_bytes(frame(b"x"))
        assert Segment.open(tmp_path / name) is None


@ANY_FILE
@given(values=VALUES, data=st.data())
def test_a_file_cut_anywhere_keeps_its_whole_entries(values: list[bytes], data: st.DataObject, tmp_path: Path) -> None:
    segment = written(tmp_path, values)
    segment.close()
    whole = segment.path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    segment.path.write_bytes(whole[:cut])
    ends = [sum(HEADER.size + len(value) for value in values[: count + 1]) for count in range(len(values))]
    expected = sum(end <= cut for end in ends)
    again = opened(segment.path)
    assert again.entries == expected
    assert again.cut_bytes == cut - (ends[expected - 1] if expected else 0)
    assert read_all(again) == values[:expected]
    assert (again.missing, again.damages) == (0, [])


@ANY_FILE
@given(values=VALUES, data=st.data(), sealed=st.booleans())
def test_a_changed_byte_costs_the_entry_that_it_is_in_and_no_other(
    values: list[bytes], data: st.DataObject, sealed: bool, tmp_path: Path
) -> None:
    segment = written(tmp_path, values)
    if sealed:
        segment.seal()
    segment.close()
    content = bytearray(segment.path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    segment.path.write_bytes(content)
    victim, end = -1, 0
    while end <= at:
        victim += 1
        end += HEADER.size + len(values[victim])
    again = opened(segment.path)
    assert read_all(again) == values[:victim] + values[victim + 1 :]
    # An open file can't tell how many there were; a sealed one does, by its name.
    assert again.missing == (1 if sealed else 0)
    last_of_open = not sealed and victim == len(values) - 1
    assert len(again.damages) == (0 if last_of_open else 1)


def test_a_file_that_became_shorter_costs_what_it_no_longer_has(tmp_path: Path) -> None:
    segment = written(tmp_path, [b"first", b"second", b"third"])
    os.truncate(segment.path, len(frame(b"first")))
    assert read_all(segment) == [b"first"]
    assert segment.missing == 2


def test_a_damaged_file_is_kept_aside(tmp_path: Path) -> None:
    segment = written(tmp_path, [b"a", b"b"])
    segment.seal()
    segment.close()
    segment.path.write_bytes(b"?" + segment.path.read_bytes()[1:])
    again = opened(segment.path)
    assert read_all(again) == [b"b"]
    assert again.give_up_missing() == 1
    assert again.give_up_missing() == 0
    again.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["00000001-000000002.seg.damaged"]


def test_an_entry_damaged_after_it_was_read_is_not_sent(tmp_path: Path) -> None:
    segment = written(tmp_path, [b"a", b"b"])
    [(_, _), (offset, _)] = segment.read(2).entries
    with segment.path.open("r+b") as file:
        file.seek(offset + HEADER.size)
        file.write(b"?")
    with pytest.raises(ValueError, match=f"byte {offset} is damaged"):
        segment.value(offset)


def test_a_write_that_fails_leaves_no_trace(tmp_path: Path) -> None:
    import resource  # noqa: PLC0415  (POSIX, as the spool)

    segment = written(tmp_path, [b"a"])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (segment.end + 20, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            segment.append(frame(b"x" * 100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert segment.path.stat().st_size == segment.end
    segment.append(frame(b"b"))
    assert read_all(segment) == [b"a", b"b"]


def test_a_write_that_a_signal_s_handler_breaks_off_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = written(tmp_path, [b"a"])
    write = os.write

    def interrupted(fd: int, data: bytes) -> int:
        write(fd, data)
        raise SoftTimeLimit  # when the bytes are in the file

    monkeypatch.setattr(os, "write", interrupted)
    with pytest.raises(SoftTimeLimit):
        segment.append(frame(b"broken off"))
    monkeypatch.undo()
    for value in (b"b", b"c"):
        segment.append(frame(value))
    assert read_all(segment) == [b"a", b"b", b"c"]
    assert (segment.missing, segment.damages) == (0, [])
