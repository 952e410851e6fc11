"""A clock for the broker that the campaign moves, so that append times jump, back and forth and into another month."""

from __future__ import annotations

import shutil
import struct
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

DAY_S = 86_400
LONGEST_DAYS = 32
"""Ahead of events that happen now by less than the workers' horizon of 35 days."""
_SOURCE = Path(__file__).with_name("shifted_clock.c")


class BrokerClock:
    """A library that the broker loads before all others, and the file that tells it how far its clock is ahead.

    Without a C compiler there is none (`missing` says so), and the broker has the machine's time.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._library, self._shift = folder / "shifted_clock.so", folder / "clock_shift"
        self.missing = ""
        self.ahead_s = 0.0
        compiler = shutil.which("cc")
        if compiler is None:
            self.missing = "no C compiler (cc)"
            return
        command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(self._library), str(_SOURCE), "-ldl"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            self.missing = f"cc: {done.stderr.strip().splitlines()[-1]}"
            return
        self._shift.write_bytes(struct.pack("=q", 0))

    def set(self, ahead_s: float) -> None:
        """From now on the broker's clock is so far ahead of the machine's."""
        if not self.missing:
            # In place: the broker has the file mapped.
            with self._shift.open("r+b") as file:
                file.write(struct.pack("=q", int(ahead_s * 1e9)))
            self.ahead_s = ahead_s

    def now(self) -> datetime:
        """By this clock."""
        return datetime.now(UTC) + timedelta(seconds=self.ahead_s)

    def to_next_month_s(self) -> float:
        """How far ahead it has to be for the next month to have begun; no farther than good events can bear."""
        now = self.now()
        first = (now.replace(day=1) + timedelta(days=32)).replace(day=1, hour=0, minute=0, second=1)
        return min(self.ahead_s + (first - now).total_seconds(), LONGEST_DAYS * DAY_S)

    def environment(self) -> dict[str, str]:
        """Variables of a process that shall have this clock."""
        return {} if self.missing else {"LD_PRELOAD": str(self._library), "SHIFTED_CLOCK": str(self._shift)}
