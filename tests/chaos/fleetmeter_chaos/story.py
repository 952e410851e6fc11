"""What happened in one schedule, in order and with times: what a person reads when it fails."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_now: Final = time.time
"""The real clock, also in a worker whose clock a fault has moved."""


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One thing that happened: when (epoch seconds), to or by whom, what; which injected fault it was, if any; and of
    which kind, if the pipeline did something about faults."""

    at_s: float
    who: str
    what: str
    fault: str = ""
    effect: str = ""


class Story:
    """A file of entries that the campaign and its workers append to, each line in one write: no entry is torn, and a
    worker that strikes itself dead has told of it before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def tell(self, who: str, what: str, fault: str = "", effect: str = "") -> None:
        """Write down that something happens now."""
        line = json.dumps([_now(), who, what, fault, effect]) + "\n"
        with self._lock:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(descriptor, line.encode())
            finally:
                os.close(descriptor)

    def entries(self) -> list[Entry]:
        """All of them, by time."""
        if not self.path.exists():
            return []
        return sorted(Entry(*json.loads(line)) for line in self.path.read_text(encoding="utf-8").splitlines())

    def faults(self) -> Counter[str]:
        """How often each fault was injected."""
        return Counter(entry.fault for entry in self.entries() if entry.fault)

    def effects(self) -> Counter[str]:
        """How often the pipeline did what."""
        return Counter(entry.effect for entry in self.entries() if entry.effect)


_SHOWN: Final = 160
"""Characters of an entry, when it is told; the file has all of it."""
_NAMES: Final = re.compile(r"chaos_[0-9a-f]{32}-?|ClickHouse at http://[0-9.:]+ ")


def told(entries: Iterable[Entry]) -> list[str]:
    """The entries as lines for people; times are seconds since the first."""
    entries = list(entries)
    return [
        f"{entry.at_s - entries[0].at_s:7.3f} s  {entry.who:<12} {_NAMES.sub('', entry.what.splitlines()[-1])[:_SHOWN]}"
        for entry in entries
    ]
