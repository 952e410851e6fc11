"""Waiting until the disk has what a file has: one fdatasync for all threads that wait at the same time."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from fleetmeter_producers.spool.segment import Segment


class DiskSync:
    """What of one home's segments is on the disk. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._synced: dict[Segment, int] = {}  # up to where; not only of the newest: its threads may be the first here

    def wait(self, segment: Segment, end: int) -> None:
        """Returns when the disk has the segment up to `end`. Raises OSError if the disk refuses."""
        with self._lock:
            # What was deleted meanwhile is with the broker.
            if self._synced.get(segment, 0) >= end or segment.fd < 0:
                return
            now = segment.end  # what others have appended meanwhile is synced with it
            os.fdatasync(segment.fd)
            self._synced[segment] = now

    def discard(self, segment: Segment) -> None:
        """Delete a segment, but not while its file is being synced. Raises OSError."""
        with self._lock:
            self._synced.pop(segment, None)
            segment.discard()


def sync_folder(folder: Path) -> None:
    """Returns when the disk knows the names in a folder. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
