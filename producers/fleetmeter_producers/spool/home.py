"""A process's folder of a spool: its segments, a lock that lives as long as the process, and a mark.

    <ULID>/lock                 held by the process that writes, or that sends what a dead one left
    <ULID>/mark                 up to where everything is acknowledged; only spares resends
    <ULID>/00000001-000034127.seg, <ULID>/00000002.open

A folder is made under a name that begins with a dot and renamed when its lock is held, so nobody finds one unlocked
whose owner lives.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

from fleetmeter_producers.spool.frame import frame_bytes
from fleetmeter_producers.spool.segment import Reading, Segment
from fleetmeter_producers.ulid import is_ulid, new_ulid

_LOCK: Final = "lock"
_MARK: Final = "mark"
_MARK_FORM: Final = struct.Struct("<QQQ")
_CHECKSUM: Final = struct.Struct("<I")


class Mark(NamedTuple):
    """Everything before is acknowledged: a segment's number, an offset in it, and how many entries lie before that."""

    number: int
    offset: int
    entries: int


class Home:
    """One folder, whose lock this process holds. Not thread-safe, but for `Segment.read` beside the other methods."""

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder = folder
        self.segments: dict[int, Segment] = {}
        """By number, in that order: what is not wholly acknowledged yet."""
        self._lock = lock
        self._mark_fd: int | None = None
        self._marked = Mark(0, 0, 0)
        self._next_number = 1
        # Entries that were read and not acknowledged, in order: (segment, offset) -> (entries before it, bytes).
        self._taken: OrderedDict[tuple[int, int], tuple[int, int]] = OrderedDict()

    @classmethod
    def create(cls, source_folder: Path) -> Home:
        """A new one, locked. Raises OSError."""
        while True:
            name = new_ulid()
            hidden = source_folder / f".{name}"
            hidden.mkdir(mode=0o700, parents=True)
            lock = None
            try:
                lock = _hold(hidden / _LOCK, os.O_CREAT)
                if lock is not None:
                    return cls(hidden.rename(source_folder / name), lock)
            except OSError:
                # Whoever emits tries again with each event: each try must not leave a folder, or a file open.
                with contextlib.suppress(OSError):
                    (hidden / _LOCK).unlink(missing_ok=True)
                    hidden.rmdir()
                if lock is not None:
                    os.close(lock)
                raise

    @classmethod
    def adopt(cls, folder: Path) -> Home | None:
        """What a dead process left in a folder; None if its process lives, or another one was first.

        Raises OSError if something can't be read; the folder is left as it was.
        """
        lock = _hold(folder / _LOCK, 0)
        if lock is None:
            return None
        home = cls(folder, lock)
        try:
            segments = segments_of(folder)
        except OSError:
            home.release()
            raise
        home.segments = {segment.number: segment for segment in segments}
        home._next_number = max(home.segments, default=0) + 1
        return home

    @property
    def active(self) -> Segment | None:
        """The segment that is appended to, if there is one."""
        last = next(reversed(self.segments.values()), None)
        return None if last is None or last.sealed else last

    @property
    def pending(self) -> int:
        """Entries that are not acknowledged, as far as it is known before all was read."""
        return sum(segment.entries - segment.acknowledged for segment in self.segments.values())

    def begin_segment(self) -> Segment:
        """Append to a new segment from now on. Raises OSError."""
        active = self.active
        if active is not None:
            active.seal()
        segment = Segment.create(self.folder, self._next_number)
        self._next_number += 1
        self.segments[segment.number] = segment
        return segment

    def unread(self) -> Segment | None:
        """The oldest segment of which something was not read."""
        return next((segment for segment in self.segments.values() if segment.unread), None)

    def note_taken(self, segment: Segment, reading: Reading) -> None:
        """What `segment.read` returned is on its way."""
        for ordinal, (offset, value) in enumerate(reading.entries, segment.read_entries):
            self._taken[segment.number, offset] = ordinal, frame_bytes(value)
        segment.note_read(reading)

    def acknowledge(self, number: int, offset: int) -> tuple[Segment, int]:
        """An entry needs no more sending; returns its segment, and the bytes that it took."""
        _, size = self._taken.pop((number, offset))
        segment = self.segments[number]
        segment.acknowledged += 1
        return segment, size

    def low_water(self) -> Mark:
        """Up to where everything is acknowledged."""
        if self._taken:
            (number, offset), (ordinal, _) = next(iter(self._taken.items()))
            return Mark(number, offset, ordinal)
        # As long as a segment is open, no further than its end: what is appended to it next is not acknowledged.
        segment = self.unread() or self.active
        if segment is None:
            return Mark(self._next_number, 0, 0)
        return Mark(segment.number, segment.read_offset, segment.read_entries)

    def end(self) -> tuple[int, int]:
        """(Segment, offset) of what will be appended next."""
        last = next(reversed(self.segments.values()), None)
        return (self._next_number, 0) if last is None else (last.number, last.end)

    def write_mark(self) -> None:
        """Note the low-water mark, for whoever adopts the folder. Without it there are resends, which count once."""
        mark = self.low_water()
        if mark == self._marked:
            return
        with contextlib.suppress(OSError):  # a full disk must not stop the sending, which makes room
            if self._mark_fd is None:
                self._mark_fd = os.open(self.folder / _MARK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            body = _MARK_FORM.pack(*mark)
            os.pwrite(self._mark_fd, body + _CHECKSUM.pack(crc32(body)), 0)
            self._marked = mark

    def release(self) -> None:
        """Close all files; what is in the folder stays for whoever adopts it. In a forked child it only lets go of the
        parent's files: a lock is held until every process that has it closed it, or the parent ends."""
        for segment in self.segments.values():
            segment.close()
        if self._mark_fd is not None:
            os.close(self._mark_fd)
        os.close(self._lock)

    def remove(self) -> None:
        """Delete the folder, in which nothing is needed any more, and let it go. Damaged segments stay, and it with
        them."""
        for name in (_MARK, _LOCK):
            with contextlib.suppress(OSError):
                (self.folder / name).unlink()
        with contextlib.suppress(OSError):
            self.folder.rmdir()
        self.release()


def segments_of(folder: Path) -> list[Segment]:
    """The segments in a process's folder, sealed, by number; what its mark says is acknowledged counts as that.

    Raises OSError. The caller closes them.
    """
    mark = _read_mark(folder)
    found: list[Segment] = []
    try:
        for path in sorted(folder.iterdir()):
            segment = Segment.open(path)
            if segment is None:
                continue
            found.append(segment)
            if segment.number < mark.number:
                segment.skip(segment.end, segment.entries)
            elif segment.number == mark.number and mark.offset <= segment.end:
                segment.skip(mark.offset, mark.entries)
    except OSError:
        for segment in found:
            segment.close()
        raise
    return found


def _read_mark(folder: Path) -> Mark:
    try:
        data = (folder / _MARK).read_bytes()
    except OSError:
        return Mark(0, 0, 0)
    body = data[: _MARK_FORM.size]
    if len(data) != _MARK_FORM.size + _CHECKSUM.size or _CHECKSUM.unpack_from(data, len(body))[0] != crc32(body):
        return Mark(0, 0, 0)
    return Mark(*_MARK_FORM.unpack(body))


def homes_in(source_folder: Path) -> list[Path]:
    """The folders of processes, the oldest first."""
    try:
        return sorted(path for path in source_folder.iterdir() if is_ulid(path.name))
    except FileNotFoundError:
        return []


def sweep_unfinished(source_folder: Path) -> None:
    """Delete the folders of processes that ended while they made them, but those of another user. Nothing was ever in
    them."""
    for folder in source_folder.glob(".*"):
        if not is_ulid(folder.name[1:]):
            continue
        with contextlib.suppress(OSError):
            lock = _hold(folder / _LOCK, 0)
            if lock is not None:
                try:
                    (folder / _LOCK).unlink()
                    folder.rmdir()
                finally:
                    os.close(lock)


def is_orphan(folder: Path) -> bool:
    """Whether nobody holds a folder's lock, and this process may: that of another user is not for us to send."""
    try:
        lock = _hold(folder / _LOCK, 0)
    except OSError:
        return False
    if lock is None:
        return False
    os.close(lock)
    return True


def _hold(path: Path, flags: int) -> int | None:
    """The locked file at `path`; None if another process (or another spool of this one) holds it, or it is gone."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held it before may have deleted the folder meanwhile.
        if os.path.samestat(os.fstat(fd), path.stat()):
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None
