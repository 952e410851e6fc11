"""System calls on the folders of ClickHouse parts that are being made, made to fail, to hang or to kill.

An insert makes its part under the name `tmp_insert_<table partition>_<block>_<block>_0`, logs its token, and renames
the part into place. Between the two lies a moment that random kills never hit; strace's `inject` hits it every time.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path

from fleetmeter_jobs.ledger.clickhouse_store import ClickHouseStore

RENAMES = "rename,renameat,renameat2"
"""A part appears by one of them, after its token was logged."""
MKDIRS = "mkdir,mkdirat"
"""A part's folder is made by one of them, after the guard was asked and before the token is looked for."""
_STOP_LIMIT_S = 5.0


class TamperingError(Exception):
    """The system calls can't be tampered with here: strace is missing, or may not attach."""


def parts_folder(store: ClickHouseStore) -> Path:
    """Where the ledger's parts are made."""
    (((folder,),),) = store.http.rows(
        "SELECT data_paths FROM system.tables WHERE database = currentDatabase() AND name = 'ledger'"
    )
    return Path(folder)


class TamperedParts:
    """From now until `stop`, system calls on parts of these inserts are tampered with.

    Args:
        folder: of the table's parts.
        pid: of ClickHouse.
        calls: names of system calls, as strace writes them.
        action: what becomes of them, as strace's `inject` says it: `error=ENOSPC`, `delay_enter=2000000`.
        log: where strace writes.
        table_partitions: of the inserts.
        blocks: of the inserts, counted from 1 since the table was made.

    Raises TamperingError. Once attached, every tampered call is in the log when it has returned.
    """

    def __init__(
        self,
        folder: Path,
        pid: int,
        calls: str,
        action: str,
        log: Path,
        table_partitions: Iterable[int],
        blocks: Iterable[int] = range(1, 20),
    ) -> None:
        self.log, self._names = log, calls.replace(",", "|")
        strace = shutil.which("strace")
        if strace is None:
            raise TamperingError("strace is not installed (Debian/Ubuntu: apt install strace)")
        blocks = list(blocks)
        parts = [folder / f"tmp_insert_{month}_{block}_{block}_0" for month in table_partitions for block in blocks]
        paths = [argument for part in parts for argument in ("-P", f"{part}/", "-P", str(part))]
        self._tracer = subprocess.Popen(
            [strace, "-f", "-o", str(log), *paths, "-e", f"inject={calls}:{action}", "-p", str(pid)],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._tracer.stderr is not None
        said = self._tracer.stderr.readline()
        while (
            "Requested path" in said
        ):  # parts that an insert left behind are there already, which is worth a word to it
            said = self._tracer.stderr.readline()
        if "attached" not in said:
            self._tracer.wait(10)
            raise TamperingError(f"strace may not attach here: {said.strip()}")

    @property
    def hits(self) -> int:
        """How many system calls were tampered with so far; a death in one of them counts, any other does not."""
        said = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        killed = "+++ killed by" in said and re.search(rf"\b({self._names})(\(| resumed).*= \?", said) is not None
        return said.count("(INJECTED)") + said.count("(DELAYED)") + said.count("(INJECTED,DELAYED)") + killed

    def stop(self) -> None:
        """Let go. Twice is once."""
        if self._tracer.poll() is None:
            self._tracer.send_signal(signal.SIGINT)
            try:
                self._tracer.wait(_STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                self._tracer.kill()
                self._tracer.wait(20)
        if self._tracer.stderr is not None:
            self._tracer.stderr.close()
