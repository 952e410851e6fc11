"""Where a device keeps its counts: one small SQLite file, because it is in the standard library and survives a kill.

Each call is one transaction in the write-ahead log: whole or not there, after kill -9 at any moment, and readable by
several processes of an app. A loss of power may cost the last calls, but never the file (`synchronous=NORMAL`; waiting
for the disk with each query would wear out a phone's flash). An append-only file of our own would have to do all that
again, and could not forget what the user wants forgotten. What is deleted is overwritten (`secure_delete`).

The file takes some 10 KiB, however long it counts: a row for each model, version and period, at most `PERIODS_KEPT`
periods (then the oldest two become one), and at most `OUTGOING_KEPT` reports that wait.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fleetmeter_producers.device.clock import Clock, Reading, elapsed_between, step_between
from fleetmeter_producers.errors import DeviceStoreError

_logger = logging.getLogger(__name__)

PERIODS_KEPT: Final = 16
OUTGOING_KEPT: Final = 500
_BUSY_S: Final = 5.0
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS device (
    one INTEGER PRIMARY KEY CHECK (one = 1), installation TEXT NOT NULL, allowed INTEGER NOT NULL,
    wall_us INTEGER NOT NULL, elapsed_us INTEGER NOT NULL, boot TEXT NOT NULL, reported_us INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS period (
    number INTEGER PRIMARY KEY, begin_us INTEGER NOT NULL, end_us INTEGER, elapsed_us INTEGER NOT NULL,
    salt BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS usage (
    period INTEGER, model TEXT, version TEXT,
    queries INTEGER, input_tokens INTEGER, input_known INTEGER,
    output_tokens INTEGER, output_known INTEGER, active_ms INTEGER, active_known INTEGER,
    PRIMARY KEY (period, model, version)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seat (period INTEGER, kind TEXT, user TEXT, PRIMARY KEY (period, kind, user)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS model (name TEXT PRIMARY KEY, downloaded TEXT, deployed TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outgoing (id TEXT PRIMARY KEY, made INTEGER NOT NULL, data TEXT NOT NULL, time_us INTEGER);
"""
# Stores of this process: a child must not use, nor close, what it inherits.
_stores: weakref.WeakSet[Store] = weakref.WeakSet()


class Store:
    """The file, and the clock that its stamps are by. Safe to use from threads and processes, and across fork.

    Raises `DeviceStoreError` where the disk refuses. A file that is no sound database is set aside, as
    `<name>.damaged`, and counting begins anew.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path, self._clock = path, clock
        # What interrupts a change in its own thread (garbage collection, a signal) gets an error, and does not hang.
        self._lock = threading.RLock()
        self._inherited: list[sqlite3.Connection] = []
        self._connection: sqlite3.Connection | None = None
        with self._lock, self._explained():
            self._connection = self._open()
        _stores.add(self)

    @contextmanager
    def change(self) -> Iterator[tuple[sqlite3.Connection, Reading]]:
        """A transaction, and the clocks as they are now.

        Stamps were moved by what the wall clock was set meanwhile, and the open period has what went by.
        """
        with self._lock, self._explained():
            if self._connection is None:
                self._connection = self._open()
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection, self._pass_time(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file; its temporary ones go. A later change opens it again."""
        with self._lock, self._explained():
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def overwrite(self) -> None:
        """What was deleted is gone from the write-ahead log, too; unless another process is reading it just now."""
        with self._lock, self._explained():
            if self._connection is not None:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def after_fork(self) -> None:
        """In a child: open the file anew when it is needed. SQLite must not carry a connection over, not even to close
        it; and a thread that held the lock is not here."""
        self._lock = threading.RLock()
        if self._connection is not None:
            self._inherited.append(self._connection)
            self._connection = None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise DeviceStoreError(
                f"the counts in {self._path} can't be read or written: {error}. See that the disk has room and the "
                "folder may be written; what was counted before is kept"
            ) from error

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connected()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            aside = self._path.with_name(f"{self._path.name}.damaged")
            _logger.error("%s is damaged (%s): it is kept as %s, and counting begins anew", self._path, error, aside)
            self._path.replace(aside)
            for suffix in ("-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            return self._connected()

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA page_size=512")
            connection.execute("PRAGMA auto_vacuum=FULL")  # what is deleted makes the file shorter
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA wal_autocheckpoint=32")
            connection.execute("PRAGMA secure_delete=ON")
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(found)
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            now = self._clock.read()
            connection.execute(
                "INSERT OR IGNORE INTO device VALUES (1, ?, 0, ?, ?, ?, 0)", (f"i-{os.urandom(16).hex()}", *now)
            )
        except BaseException:
            connection.close()
            raise
        return connection

    def _pass_time(self, connection: sqlite3.Connection) -> Reading:
        now = self._clock.read()
        before = Reading(*connection.execute("SELECT wall_us, elapsed_us, boot FROM device").fetchone())
        step = step_between(before, now, sees_sleep=self._clock.sees_sleep)
        if step:
            connection.execute("UPDATE period SET begin_us = begin_us + ?, end_us = end_us + ?", (step, step))
        gone = elapsed_between(before, now)
        connection.execute("UPDATE period SET elapsed_us = elapsed_us + ? WHERE end_us IS NULL", (gone,))
        connection.execute("UPDATE device SET wall_us = ?, elapsed_us = ?, boot = ?", now)
        return now


def _after_fork_in_child() -> None:
    for store in list(_stores):
        store.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
