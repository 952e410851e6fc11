"""An outbox on disk: what `append` accepted outlives the process.

`append` writes to the end of a file before it returns, so that the operating system has the event: kill -9 can't take
it. With `sync` the disk has it too, and a loss of power can't; threads that append together share one fsync. Entries
are read again from the file, not kept: while the broker is away, memory does not grow.

What dead processes of the same source left is adopted and sent first: at the first `take`, and again now and then.
"""

from __future__ import annotations

import errno
import heapq
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from fleetmeter_producers.outbox import Entry, Pending
from fleetmeter_producers.spool.disk_sync import DiskSync, sync_folder
from fleetmeter_producers.spool.frame import frame
from fleetmeter_producers.spool.home import Home, homes_in, is_orphan
from fleetmeter_producers.spool.homes import Homes
from fleetmeter_producers.spool.segment import Segment

_logger = logging.getLogger(__name__)

_MARK_EVERY_S: Final = 1.0
_ADOPT_EVERY_S: Final = 30.0
_RECLAIM_FROM: Final = 4  # the part of a segment from which a wholly acknowledged one is deleted before it is full


class SpoolOutbox:
    """An outbox in a folder for one source; each process (and each client) has a home of its own in it.

    `limit_bytes` bounds the files of this process; files that are still being written count until the whole of them is
    acknowledged. At least `reserve_bytes` of the disk are left free.
    """

    def __init__(
        self,
        source_folder: Path,
        *,
        limit_bytes: int,
        segment_bytes: int,
        reserve_bytes: int,
        sync: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = source_folder
        self._clock = clock
        self._limit_bytes, self._segment_bytes, self._reserve_bytes = limit_bytes, segment_bytes, reserve_bytes
        self._sync = DiskSync() if sync else None
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)  # for take
        self._room = threading.Condition(self._lock)  # for append
        self._drain = threading.Condition(self._lock)  # for wait_drained
        self._taking = threading.Lock()
        self._homes = Homes(source_folder)
        self._active: Segment | None = None
        self._returned: list[int] = []  # heap
        self._events = 0
        self._bytes = 0  # of events that were not acknowledged
        self._own_bytes = 0  # of this process's files
        self._woken = False
        self._adopt_at = self._mark_at = float("-inf")
        self._closed = False
        self.trouble: str | None = None
        """Why the last event could not be written, if it was not for lack of room."""
        self.recovered = 0
        """Events of dead processes that this one took over."""
        self.damaged = 0
        """Events that were accepted, and lost because the disk gave something else back."""
        self.cut_bytes = 0
        """What dead processes had not written whole; no event of theirs that was accepted is in it."""

    # --- the outbox's contract ---

    def append(self, value: bytes, wait_s: float) -> bool:
        data = frame(value)
        size = len(data)
        with self._lock:
            if self._own_bytes + size > self._limit_bytes and not (
                wait_s > 0 and self._room.wait_for(lambda: self._own_bytes + size <= self._limit_bytes, wait_s)
            ):
                self.trouble = None
                return False
            segment = self._active
            try:
                if segment is None or segment.sealed or segment.end + size > self._segment_bytes:
                    segment = self._active = self._next_segment()
                segment.append(data)
            except OSError as error:
                self.trouble = f"the spool in {self._folder} can't be written: {error}"
                return False
            self.trouble = None
            self._events += 1
            self._bytes += size
            self._own_bytes += size
            end = segment.end
            self._work.notify()
        if self._sync is not None:
            try:
                self._sync.wait(segment, end)
            except OSError as error:
                # It is in the file and will be sent: accepted, but a loss of power could still take it.
                self.trouble = f"the spool in {self._folder} can't be synced to disk: {error}"
                _logger.error("%s", self.trouble)
        return True

    def take(self, most: int, wait_s: float) -> list[Entry]:
        with self._taking:
            self._keep_house()
            with self._lock:
                if not self._can_take() and wait_s > 0:
                    self._work.wait_for(lambda: self._can_take() or self._woken, wait_s)
                self._woken = False
                again = [heapq.heappop(self._returned) for _ in range(min(most, len(self._returned)))]
            entries: list[Entry] = []
            again.reverse()
            try:
                while again:
                    entry = self._read_again(again[-1])
                    again.pop()
                    entries += () if entry is None else (entry,)
                while len(entries) < most and (found := self._read_new(most - len(entries))):
                    entries += found
            except BaseException:
                # What the disk refused for now is taken again, and so is what it had given: nobody else knows of it.
                self.give_back([*again, *(entry.position for entry in entries)])
                raise
            return entries

    def acknowledge(self, positions: Sequence[int]) -> None:
        finished: dict[Segment, Home] = {}
        with self._lock:
            for position in positions:
                home, number, offset = self._homes.place(position)
                segment, size = home.acknowledge(number, offset)
                self._events -= 1
                self._bytes -= size
                if (
                    not segment.sealed
                    and segment.end >= self._segment_bytes // _RECLAIM_FROM
                    and segment.acknowledged == segment.entries
                ):
                    segment.seal()  # all of it has arrived: its room is free again
                if segment.done:
                    finished[segment] = home
            self._drain.notify_all()
        for segment, home in finished.items():
            self._discard(home, segment)

    def give_back(self, positions: Iterable[int]) -> None:
        with self._lock:
            for position in positions:
                heapq.heappush(self._returned, position)
            self._work.notify()

    def wait_drained(self, wait_s: float) -> bool:
        with self._lock:
            own = self._homes.own
            end = (0, 0) if own is None else own.end()
            return self._drain.wait_for(lambda: self._drained_to(end), wait_s)

    def wake(self) -> None:
        with self._lock:
            self._woken = True
            self._work.notify_all()

    def pending(self) -> Pending:
        with self._lock:
            return Pending(self._events, self._bytes)

    def is_filling(self) -> bool:
        return 2 * self._own_bytes > self._limit_bytes

    def close(self) -> None:
        """Let go of the files; what is left in them is sent by the next process that opens a spool for the source."""
        with self._taking, self._lock:
            if self._closed:
                return
            self._closed = True
            for home in self._homes:
                home.write_mark()
                if home.pending:
                    home.release()
                else:
                    for segment in home.segments.values():
                        self._delete(segment)
                    home.segments.clear()
                    home.remove()
            self._homes.clear()

    # --- more than the contract ---

    def has_orphans(self) -> bool:
        """Whether dead processes left something here."""
        return any(is_orphan(folder) for folder in homes_in(self._folder))

    def nothing_to_send(self) -> bool:
        """Whether all is acknowledged, and dead processes have left nothing. Waits for a `take` that goes on."""
        self.wake()
        with self._taking:  # it may be adopting
            return not self.pending().events and not self.has_orphans()

    def abandon(self) -> None:
        """In a forked child: let go of the parent's files, which stay the parent's."""
        for home in self._homes:
            home.release()

    # --- writing ---

    def _next_segment(self) -> Segment:
        """A new segment to append to; raises OSError."""
        own = self._homes.own or self._homes.found_own()
        before = own.active
        space = os.statvfs(own.folder)
        if space.f_bavail * space.f_frsize < self._reserve_bytes + self._segment_bytes:
            raise OSError(errno.ENOSPC, f"{self._reserve_bytes} bytes of the disk are to be left free")
        segment = own.begin_segment()
        if before is not None and before.done:  # all of it had arrived before it was sealed
            del own.segments[before.number]
            self._own_bytes -= before.end
            self._delete(before)
        if self._sync is not None:
            sync_folder(own.folder)
            sync_folder(self._folder)
        return segment

    # --- reading ---

    def _can_take(self) -> bool:
        return bool(self._returned) or self._homes.next_unread() is not None

    def _read_new(self, most: int) -> list[Entry]:
        """The next entries of one segment. Only `take` reads, so that nothing but appending goes on beside it."""
        with self._lock:
            found = self._homes.next_unread()
        if found is None:
            return []
        home, segment, base = found
        reading = segment.read(most)
        with self._lock:
            home.note_taken(segment, reading)
            self._bytes -= sum(damage.end - damage.begin for damage in reading.damages)
            self._events -= self._give_up_missing(segment)
            finished = segment.done
        if finished:  # there was nothing in it but damage
            self._discard(home, segment)
        return [Entry(base | offset, value) for offset, value in reading.entries]

    def _read_again(self, position: int) -> Entry | None:
        home, number, offset = self._homes.place(position)
        try:
            return Entry(position, home.segments[number].value(offset))
        except ValueError as error:
            _logger.error("an event is lost: %s", error)
            self.damaged += 1
            self.acknowledge([position])
            return None

    def _give_up_missing(self, segment: Segment) -> int:
        missing = segment.give_up_missing()
        if missing:
            self.damaged += missing
            _logger.error(
                "%s is damaged: %d events can't be read; %s",
                segment.path,
                missing,
                f"the file is kept as {segment.path.name}.damaged"
                if segment.damages
                else "they are gone from the file",
            )
        return missing

    # --- leaving ---

    def _discard(self, home: Home, segment: Segment) -> None:
        """Delete a segment of which nothing is needed any more, and its home if it was the last of a dead process."""
        with self._lock:
            del home.segments[segment.number]
            own = home is self._homes.own
            if own:
                self._own_bytes -= segment.end
                self._room.notify_all()
            empty = not own and not home.segments
            if empty:
                self._homes.drop(home)
                self._adopt_at = float("-inf")  # there may be more of them
            self._drain.notify_all()
        self._delete(segment)
        if empty:
            home.remove()

    def _delete(self, segment: Segment) -> None:
        try:
            if self._sync is None:
                segment.discard()
            else:
                self._sync.discard(segment)
        except OSError as error:
            _logger.warning(
                "%s can't be deleted; its events will be sent again, and count once: %s", segment.path, error
            )

    def _drained_to(self, end: tuple[int, int]) -> bool:
        own = self._homes.own
        return not self._homes.adopted and (own is None or own.low_water()[:2] >= end)

    # --- housekeeping, by whoever takes ---

    def _keep_house(self) -> None:
        now = self._clock()
        if now >= self._adopt_at:
            self._adopt_at = now + _ADOPT_EVERY_S
            try:
                for home in self._homes.find_orphans():
                    self._adopt(home)
            except OSError as error:
                # What goes on here must not stand still for it, as where a process has no more files to open.
                _logger.warning("can't look for what other processes left in %s: %s", self._folder, error)
        if now >= self._mark_at:
            self._mark_at = now + _MARK_EVERY_S
            with self._lock:
                for home in self._homes:
                    home.write_mark()

    def _adopt(self, home: Home) -> None:
        """Send what a dead process left in its home."""
        cut = sum(segment.cut_bytes for segment in home.segments.values())
        for segment in [segment for segment in home.segments.values() if segment.done]:
            self._give_up_missing(segment)  # a file that a loss of power has emptied is done, too
            del home.segments[segment.number]
            self._delete(segment)
        if not home.segments:
            home.remove()
            return
        with self._lock:
            self._homes.adopt(home)
            self.recovered += home.pending
            self.cut_bytes += cut
            self._events += home.pending
            self._bytes += sum(segment.end - segment.read_offset for segment in home.segments.values())
        _logger.info("sending %d events that another process left in %s", home.pending, home.folder)
