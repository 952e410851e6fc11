"""What is written down as it happens, by period; and the end of periods.

A period is what lies between two reports, cut where a calendar month (UTC) ends, so that a seat lies in one month. The
statements here run inside a `Store.change`.
"""

from __future__ import annotations

import os
import sqlite3
from datetime import UTC, datetime
from typing import Final

from fleetmeter_schemas.fields import QUANTITY_CAP

from fleetmeter_producers.device.store import PERIODS_KEPT
from fleetmeter_producers.device.traits import Counted

_SALT_BYTES: Final = 32
# A sum beyond the cap of a quantity stays there: it must not become a floating point number.
_COLUMNS: Final = ", ".join(f"{name} = min({name} + excluded.{name}, {2 * QUANTITY_CAP})" for name in Counted._fields)
_ADD: Final = f"""
INSERT INTO usage VALUES (?, ?, ?, {", ".join("?" * len(Counted._fields))})
ON CONFLICT (period, model, version) DO UPDATE SET {_COLUMNS}
"""  # noqa: S608  (names of ours)


def open_period(connection: sqlite3.Connection, now_us: int) -> int:
    """The number of the period that is open now; begins one if need be."""
    row = connection.execute("SELECT number, begin_us FROM period WHERE end_us IS NULL").fetchone()
    if row is not None:
        number, begin_us = row
        if _month(begin_us) == _month(now_us):
            return int(number)
        end_period(connection, now_us)
    begun = connection.execute(
        "INSERT INTO period (begin_us, elapsed_us, salt) VALUES (?, 0, ?)", (now_us, os.urandom(_SALT_BYTES))
    )
    _keep_few(connection)
    return int(begun.lastrowid or 0)


def end_period(connection: sqlite3.Connection, now_us: int) -> None:
    """End the open period, if there is one."""
    connection.execute("UPDATE period SET end_us = max(begin_us, ?) WHERE end_us IS NULL", (now_us,))


def add(connection: sqlite3.Connection, period: int, model: str, version: str, counted: Counted) -> None:
    """Count something in a period."""
    connection.execute(_ADD, (period, model, version, *counted))


def add_seat(connection: sqlite3.Connection, period: int, kind: str, user: str) -> None:
    """A seat was seen in a period."""
    connection.execute("INSERT OR IGNORE INTO seat VALUES (?, ?, ?)", (period, kind, user))


def drop_period(connection: sqlite3.Connection, number: int) -> None:
    """Forget a period and what was counted in it."""
    for statement in (
        "DELETE FROM usage WHERE period = ?",
        "DELETE FROM seat WHERE period = ?",
        "DELETE FROM period WHERE number = ?",
    ):
        connection.execute(statement, (number,))


def _keep_few(connection: sqlite3.Connection) -> None:
    """A device that never reports keeps no more than so many periods: the oldest two become one."""
    while True:
        rows = connection.execute("SELECT number, begin_us, elapsed_us FROM period ORDER BY number LIMIT 2").fetchall()
        (count,) = connection.execute("SELECT count(*) FROM period").fetchone()
        if count <= PERIODS_KEPT:
            return
        (oldest, begin_us, elapsed_us), (into, _, _) = rows
        for _, model, version, *sums in connection.execute(
            "SELECT * FROM usage WHERE period = ?", (oldest,)
        ).fetchall():
            add(connection, into, model, version, Counted(*sums))
        connection.execute("INSERT OR IGNORE INTO seat SELECT ?, kind, user FROM seat WHERE period = ?", (into, oldest))
        connection.execute(
            "UPDATE period SET begin_us = ?, elapsed_us = elapsed_us + ? WHERE number = ?", (begin_us, elapsed_us, into)
        )
        drop_period(connection, oldest)


def _month(us: int) -> tuple[int, int]:
    moment = datetime.fromtimestamp(us / 1_000_000, UTC)
    return moment.year, moment.month
