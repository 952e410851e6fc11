"""From counts to reports, and the reports that wait to be handed over.

A report is made once, with its id, and kept until it was taken: whoever hands it over again sends the same event. Each
has a ULID of its own: ids of one device must not be known to belong together. An estimate's carries the period's end.

The statements here run inside a `Store.change`.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import sqlite3
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson
from fleetmeter_schemas.envelope import check_against_time, parse_data
from fleetmeter_schemas.events import DeviceReportV1, EventData

from fleetmeter_producers.device import counting
from fleetmeter_producers.device.clock import OLDEST_PERIOD_US, bounded
from fleetmeter_producers.device.store import OUTGOING_KEPT
from fleetmeter_producers.device.traits import Counted, DeviceTraits, LocalModel, estimate
from fleetmeter_producers.ulid import new_ulid, ulid_of
from fleetmeter_producers.wire import format_time

_logger = logging.getLogger(__name__)

_HASH_DIGITS: Final = 32
# Workers find duplicates for 35 days; what waits longer for an answer gets a new time, so that it is not too old.
_STALE_US: Final = 30 * 86_400_000_000


class Waiting(NamedTuple):
    """A report to hand over."""

    id: str
    data: EventData
    time_us: int


def is_allowed(connection: sqlite3.Connection) -> bool:
    """Whether the user allows reports."""
    return bool(connection.execute("SELECT allowed FROM device").fetchone()[0])


def forget(connection: sqlite3.Connection) -> None:
    """Forget all counts and reports; not the installation, nor which models are here."""
    for table in ("usage", "seat", "period", "outgoing"):
        connection.execute(f"DELETE FROM {table}")  # noqa: S608  (names of ours)


def freeze(
    connection: sqlite3.Connection,
    models: Mapping[str, LocalModel],
    traits: DeviceTraits,
    now_us: int,
    offset_us: int,
) -> None:
    """Make reports of the periods that ended, and forget the periods. `offset_us`: how far the device's clock lags."""
    installation, reported = connection.execute("SELECT installation, reported_us FROM device").fetchone()
    latest = now_us + offset_us
    oldest = latest - OLDEST_PERIOD_US
    connection.execute("UPDATE device SET reported_us = ?", (latest,))
    rows = connection.execute("SELECT * FROM period WHERE end_us IS NOT NULL ORDER BY number DESC").fetchall()
    for number, begin_us, end_us, elapsed_us, salt in rows:
        span = bounded(
            begin_us + offset_us,
            end_us + offset_us,
            elapsed_us=elapsed_us,
            latest_us=latest,
            oldest_us=oldest,
            reported_us=reported,
        )
        if span is None:
            _logger.warning("a period that ended more than 399 days ago is not reported any more")
        else:
            latest = span[0]  # periods are disjoint
            period = {"period_start": format_time(span[0]), "period_end": format_time(span[1])}
            for kind, user in connection.execute("SELECT kind, user FROM seat WHERE period = ?", (number,)).fetchall():
                who = {"user": user} if kind == "user" else {}
                data = {"kind": "seat", "seat_kind": kind, "installation": installation, **period, **who}
                _wait(connection, new_ulid(), {**data, "device_class": traits.device_class})
            period["period_hash"] = hmac.new(salt, installation.encode(), hashlib.sha256).hexdigest()[:_HASH_DIGITS]
            _freeze_usage(connection, number, models, traits, period, span[1], max(span[1] - span[0], elapsed_us))
        counting.drop_period(connection, number)


def next_waiting(connection: sqlite3.Connection, now_us: int) -> Waiting | None:
    """The report that waits longest, with the time it is sent under; None if there is none.

    One that breaks a rule, such as a period that has become too old meanwhile, is dropped with a warning.
    """
    for event_id, text, sent_us in connection.execute(
        "SELECT id, data, time_us FROM outgoing ORDER BY made"
    ).fetchall():
        time_us = now_us
        if sent_us is not None and now_us - _STALE_US <= sent_us <= now_us:
            time_us = sent_us
        else:
            connection.execute("UPDATE outgoing SET time_us = ? WHERE id = ?", (time_us, event_id))
        try:
            data = parse_data(DeviceReportV1, orjson.loads(text))
            check_against_time(data, time_us)
        except ValueError as error:
            _logger.warning("a report can't be sent any more, and is dropped: %s", error)
            connection.execute("DELETE FROM outgoing WHERE id = ?", (event_id,))
            continue
        return Waiting(event_id, data, time_us)
    return None


def all_waiting(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """The data of all reports that wait."""
    return [orjson.loads(text) for (text,) in connection.execute("SELECT data FROM outgoing ORDER BY made")]


def _freeze_usage(
    connection: sqlite3.Connection,
    number: int,
    models: Mapping[str, LocalModel],
    traits: DeviceTraits,
    period: dict[str, str],
    end_us: int,
    length_us: int,
) -> None:
    length_ms = -(-length_us // 1000)
    for _, name, version, *sums in connection.execute("SELECT * FROM usage WHERE period = ?", (number,)).fetchall():
        model = models.get(name) or LocalModel(name)
        quantities = estimate(Counted(*sums), model, traits, length_ms)
        event_id = ulid_of(end_us // 1000, int.from_bytes(os.urandom(10)))
        _wait(connection, event_id, {"kind": "estimate", **_about(model, traits, version), **period, **quantities})


def tell(
    connection: sqlite3.Connection, kind: str, model: LocalModel, traits: DeviceTraits, version: str, previous: str = ""
) -> None:
    """Have a fact of a model's life wait, if the user allows reports."""
    if is_allowed(connection):
        (installation,) = connection.execute("SELECT installation FROM device").fetchone()
        data = {"kind": kind, **_about(model, traits, version), "previous_model_version": previous}
        _wait(connection, new_ulid(), {**data, "installation": installation})


def _about(model: LocalModel, traits: DeviceTraits, version: str) -> dict[str, str | None]:
    return {
        "model": model.name,
        "model_version": version,
        "quantization": model.quantization,
        "device_class": traits.device_class,
    }


def _wait(connection: sqlite3.Connection, ulid: str, data: dict[str, Any]) -> None:
    (count, made) = connection.execute("SELECT count(*), coalesce(max(made), 0) + 1 FROM outgoing").fetchone()
    if count >= OUTGOING_KEPT:
        _logger.warning("%d reports wait already: a %s is dropped", count, data["kind"])
        return
    text = orjson.dumps({name: value for name, value in data.items() if value not in (None, "")}).decode()
    connection.execute("INSERT INTO outgoing VALUES (?, ?, ?, NULL)", (f"{ulid}-0", made, text))
