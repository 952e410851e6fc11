"""One file of a spool: entries are appended to its end, read once from its beginning, and acknowledged in any order.

While it is written it is called `<number>.open`; when it is sealed its name tells how many entries it has:
`<number>-<entries>.seg`. So only an open file has to be read to know what a dead process left.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final, NamedTuple

from fleetmeter_producers.spool.frame import HEADER, MARKER, bytes_needed, frame_bytes, value_at

_CHUNK_BYTES: Final = 256 * 1024
_NAME: Final = re.compile(r"(?P<number>\d{8})(?:\.open|-(?P<entries>\d{9})\.seg)")


class Damage(NamedTuple):
    """Bytes of a file that hold no sound entry, from `begin` to before `end`."""

    begin: int
    end: int


class Reading(NamedTuple):
    """What `Segment.read` found: (offset, value) of the entries, what is damaged, and where to read on."""

    entries: list[tuple[int, bytes]]
    damages: list[Damage]
    next_offset: int


class Segment:
    """A file with entries. Not thread-safe; `read` alone may run beside the other methods.

    `end`: bytes that hold entries. `entries`: how many were appended; `read_entries` and `acknowledged` of them.
    `damages`: what of it could not be read. `cut_bytes`: what followed the last whole entry when it was opened.
    """

    def __init__(self, path: Path, number: int, fd: int, *, entries: int, end: int, sealed: bool) -> None:
        self.path, self.number, self.fd = path, number, fd
        self.entries, self.end, self.sealed = entries, end, sealed
        self.acknowledged = 0
        self.read_entries = 0
        self.read_offset = 0
        self.damages: list[Damage] = []
        self.cut_bytes = 0
        self._chunk = b""
        self._chunk_at = 0

    @classmethod
    def create(cls, folder: Path, number: int) -> Segment:
        """A new one; raises OSError."""
        path = folder / f"{number:08d}.open"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        return cls(path, number, fd, entries=0, end=0, sealed=False)

    @classmethod
    def open(cls, path: Path) -> Segment | None:
        """One that another process left, sealed; None if the name is not a segment's. Raises OSError.

        What an open file ends with, when the process was killed in the middle of a write, is left out.
        """
        parts = _NAME.fullmatch(path.name)
        if parts is None:
            return None
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        segment = cls(path, int(parts["number"]), fd, entries=0, end=os.fstat(fd).st_size, sealed=True)
        if parts["entries"] is not None:
            segment.entries = int(parts["entries"])
            return segment
        segment._count()
        return segment

    def append(self, frame: bytes) -> int:
        """Write a frame to the end; returns where it begins. Raises OSError, after which the file is as before, or, if
        even that fails, sealed where it was good; so, too, where a signal's handler raises what it likes."""
        begin, size = self.end, len(frame)
        try:
            written = os.write(self.fd, frame)
            while written < size:  # a disk that is nearly full, or a signal
                written += os.write(self.fd, frame[written:])
        except BaseException:
            try:
                os.ftruncate(self.fd, begin)
            except OSError:
                self.sealed = True
            raise
        # No call from here to the return: a handler runs at calls, and would leave the file longer than we know it.
        self.end = begin + size
        self.entries += 1
        return begin

    def seal(self) -> None:
        """Nothing more will be appended. The name tells the number of entries, if the file can be renamed."""
        self.sealed = True
        name = self.path.with_name(f"{self.number:08d}-{self.entries:09d}.seg")
        try:
            self.path = self.path.rename(name)
        except OSError:
            return  # its entries will be counted by whoever opens it

    def skip(self, offset: int, entries: int) -> None:
        """Before anything is read: the first `entries` entries, which end at `offset`, are acknowledged already."""
        self.read_offset, self.read_entries, self.acknowledged = offset, entries, entries

    @property
    def unread(self) -> bool:
        """Whether there may be entries that were not read."""
        return self.read_offset < self.end

    @property
    def done(self) -> bool:
        """Whether all entries that can be read have been acknowledged, and no more will come."""
        return self.sealed and not self.unread and self.acknowledged >= self.read_entries

    def read(self, most: int) -> Reading:
        """The entries that follow those noted as read, at most `most`. Raises OSError. Nothing changes but a buffer."""
        entries: list[tuple[int, bytes]] = []
        damages: list[Damage] = []
        at, end = self.read_offset, self.end
        while len(entries) < most and at < end:
            value = self._value(at, end)
            if value is None:
                damages.append(Damage(at, self._after_damage(at, end)))
                at = damages[-1].end
            else:
                entries.append((at, value))
                at += frame_bytes(value)
        return Reading(entries, damages, at)

    def note_read(self, reading: Reading) -> None:
        """What `read` returned is on its way."""
        self.read_entries += len(reading.entries)
        self.read_offset = reading.next_offset
        self.damages += reading.damages
        if not self.unread:
            self._chunk = b""

    @property
    def missing(self) -> int:
        """Entries that were appended and can't be read: known when everything was."""
        if self.unread or not (self.sealed or self.damages):
            return 0
        return self.entries - self.read_entries

    def give_up_missing(self) -> int:
        """What is missing is lost: it is no longer counted. Returns how many entries."""
        missing = self.missing
        self.entries -= missing
        return missing

    def value(self, offset: int) -> bytes:
        """The entry that begins at `offset`, again. Raises OSError; ValueError if it was damaged since it was read."""
        header = os.pread(self.fd, HEADER.size, offset)
        data = header + os.pread(self.fd, bytes_needed(header, 0) - HEADER.size, offset + HEADER.size)
        value = value_at(data, 0)
        if value is None:
            raise ValueError(f"{self.path}: the entry at byte {offset} is damaged")
        return value

    def close(self) -> None:
        """Close the file."""
        fd, self.fd = self.fd, -1
        os.close(fd)

    def discard(self) -> None:
        """Close and delete the file, if it is still there; one with damage is kept, as `<name>.damaged`. Raises
        OSError."""
        self.close()
        if self.damages:
            self.path.rename(self.path.with_name(f"{self.path.name}.damaged"))
        else:
            self.path.unlink(missing_ok=True)

    def _count(self) -> None:
        """How many entries are in it, and where the last one ends."""
        while self.unread:
            self.note_read(self.read(10_000))
        self.entries = self.read_entries
        if self.damages and self.damages[-1].end == self.end:
            self.cut_bytes = self.end - self.damages[-1].begin
            self.end = self.damages[-1].begin
        self.damages.clear()
        self.skip(0, 0)

    def _value(self, at: int, end: int) -> bytes | None:
        here = at - self._chunk_at
        if here < 0 or len(self._chunk) - here < bytes_needed(self._chunk, here):
            self._load(at, end, _CHUNK_BYTES)
            here = 0
            needed = bytes_needed(self._chunk, 0)
            if _CHUNK_BYTES < needed <= end - at:
                self._load(at, end, needed)
        return value_at(self._chunk, here)

    def _load(self, at: int, end: int, size: int) -> None:
        self._chunk, self._chunk_at = os.pread(self.fd, min(size, end - at), at), at

    def _after_damage(self, begin: int, end: int) -> int:
        """Where the next sound entry begins, or the end."""
        at = begin + 1
        while at < end:
            data = os.pread(self.fd, min(_CHUNK_BYTES, end - at), at)
            if not data:
                return end  # the file has become shorter than it was
            place = data.find(MARKER)
            if place < 0:
                # A marker may lie across the border to what follows.
                at += len(data) if at + len(data) >= end else len(data) - len(MARKER) + 1
                continue
            at += place
            if self._value(at, end) is not None:
                return at
            at += 1
        return end
