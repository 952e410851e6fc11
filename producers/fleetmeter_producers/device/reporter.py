"""Counting in an app that runs models on its user's device, and reporting when the user allows it.

reporter = DeviceReporter(folder, "acct-42", traits=DeviceTraits("laptop-16gb", 120_000), models=[model])
reporter.seat_seen()
reporter.count("phi-4-mini", input_tokens=210, output_tokens=85, active_ms=2_400)
...
reporter.report(client)  # weeks later, when there is a network, and if `allow` was called
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import sqlite3
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from fleetmeter_schemas.fields import QUANTITY_CAP

from fleetmeter_producers.device import counting, life, reports
from fleetmeter_producers.device.clock import Clock, DeviceClock
from fleetmeter_producers.device.store import Store
from fleetmeter_producers.device.traits import Counted, DeviceTraits, LocalModel
from fleetmeter_producers.emitter import Emitter, events_dropped
from fleetmeter_producers.errors import DeviceStoreError, OutboxFullError
from fleetmeter_producers.wire import micros_of

_logger = logging.getLogger(__name__)

_VERSION: Final = re.compile(r"v?\d{1,6}(?:[.-]\d{1,6}){0,4}(?:[.-]?(?:a|b|rc|alpha|beta|dev|post)\d{0,4})?")
_KEY_BYTES: Final = 16
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class DeviceReporter:
    """One app's counts on one device, for the account that pays. Thread-safe, also across fork; an app's processes may
    share the folder.

    Nothing that identifies a person can get in: quantities are whole numbers, models are those that were declared,
    versions look like versions, and a user is kept only as an HMAC under `user_key`, a secret of the account, so that
    one person is one seat on several devices. No method takes a text that it would keep.

    Counting never fails for want of disk: it returns False, logs, and adds to `lost`. Everything else raises
    `DeviceStoreError` then; and `ValueError` for what the app got wrong, such as a model that was not declared.
    """

    def __init__(
        self,
        folder: Path | str,
        account: str,
        *,
        traits: DeviceTraits,
        models: Iterable[LocalModel],
        user_key: bytes | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._account, self._traits = account, traits
        self._models = {model.name: model for model in models}
        if user_key is not None and len(user_key) < _KEY_BYTES:
            raise ValueError(f"user_key must have at least {_KEY_BYTES} random bytes, the same on all devices")
        self._user_key = user_key
        folder = Path(folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # An installation is scoped to its account: another account on this device is another installation.
        name = hashlib.sha256(account.encode()).hexdigest()[:16]
        self._store = Store(folder / f"{name}.counts", clock or DeviceClock())
        self.lost = 0
        """Calls of this process whose count could not be written down."""

    @property
    def installation(self) -> str:
        """The random id of this installation; made once, stable, and no part of any estimate."""
        with self._store.change() as (connection, _):
            return str(connection.execute("SELECT installation FROM device").fetchone()[0])

    @property
    def allowed(self) -> bool:
        """Whether the user allows reports."""
        with self._store.change() as (connection, _):
            return reports.is_allowed(connection)

    def allow(self) -> None:
        """The user allows reports, from now on: what was counted before is forgotten, and stays unknown.

        Models that are here are reported as downloaded and deployed: that is how things stand now.
        """
        with self._store.change() as (connection, now):
            if not reports.is_allowed(connection):
                reports.forget(connection)
                connection.execute("UPDATE device SET allowed = 1")
                counting.open_period(connection, now.wall_us)
                life.tell_what_is_here(connection, self._models, self._traits)

    def withdraw(self) -> None:
        """The user allows it no longer: what waits is deleted, here and now."""
        with self._store.change() as (connection, _):
            connection.execute("UPDATE device SET allowed = 0")
            reports.forget(connection)
        self._store.overwrite()

    def count(
        self,
        model: str,
        *,
        queries: int = 1,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        active_ms: int | None = None,
    ) -> bool:
        """Queries were answered on the device. Leave out what is not known: absent is not zero."""
        self._declared(model)
        told = {"queries": queries, "input": input_tokens, "output": output_tokens, "active": active_ms}
        for name, value in told.items():
            if value is not None and (type(value) is not int or not 0 <= value <= QUANTITY_CAP):
                raise ValueError(f"{name} must be a whole number from 0 to {QUANTITY_CAP}, of type int")
        known = {name: 0 if value is None else queries for name, value in told.items()}
        counted = Counted(
            queries,
            input_tokens or 0,
            known["input"],
            output_tokens or 0,
            known["output"],
            active_ms or 0,
            known["active"],
        )

        def write(connection: sqlite3.Connection, now_us: int) -> None:
            period = counting.open_period(connection, now_us)
            row = connection.execute("SELECT deployed FROM model WHERE name = ?", (model,)).fetchone()
            counting.add(connection, period, model, row[0] if row else "", counted)

        return self._write(write)

    def seat_seen(self, user: str | None = None) -> bool:
        """The app was used on this device, by this user if given: call it when the app starts.

        A seat counts once a month and device, or user; a month without a call is a month without a seat.
        """
        pseudonym = "" if user is None else self._pseudonym(user)
        kind = "device" if user is None else "user"
        return self._write(
            lambda connection, now_us: counting.add_seat(
                connection, counting.open_period(connection, now_us), kind, pseudonym
            )
        )

    def downloaded(self, model: str, version: str) -> bool:
        """A model is on the device now. Telling it again changes nothing."""
        return self._life(model, version, deployed=False)

    def deployed(self, model: str, version: str) -> bool:
        """A model is in use now, in this version: an upgrade, if there was another one. Repeating changes nothing."""
        return self._life(model, version, deployed=True)

    def removed(self, model: str) -> bool:
        """A model is gone from the device."""
        declared = self._declared(model)
        return self._write(lambda connection, _: life.tell_removal(connection, declared, self._traits))

    def report(self, reporter: Emitter, *, received: datetime | None = None, most: int | None = None) -> int:
        """Hand over what is to be reported; returns how many reports that were. Without permission: none.

        `reporter` is a `UsageClient`, or whatever else takes events. Its source must be the app's, not the device's: an
        estimate must not be known by where it came from. `received` is the receiver's time, if the app knows it (from
        an HTTP answer's Date, for example); it puts right what a wrong clock stamped. `most`: hand over so many.

        What the reporter raises goes on, and `OutboxFullError` is raised for what a `UsageClient` dropped; what was not
        taken is kept, under the ids that it has, so that handing it over again never counts it twice.
        """
        with self._store.change() as (_, now):
            offset_us = 0 if received is None else micros_of(received) - now.wall_us
        handed = self._hand_over(reporter, offset_us, most)
        if handed == most:
            return handed
        # Only now: while reports can't be handed over, their number does not grow, and periods stay long.
        with self._store.change() as (connection, now):
            if reports.is_allowed(connection):
                counting.end_period(connection, now.wall_us)
                reports.freeze(connection, self._models, self._traits, now.wall_us, offset_us)
                counting.open_period(connection, now.wall_us)
        return handed + self._hand_over(reporter, offset_us, None if most is None else most - handed)

    def preview(self) -> list[dict[str, Any]]:
        """What a report would hold now, for the user to see; nothing changes."""
        with self._store.change() as (connection, now):
            connection.execute("SAVEPOINT preview")
            counting.end_period(connection, now.wall_us)
            reports.freeze(connection, self._models, self._traits, now.wall_us, 0)
            shown = reports.all_waiting(connection)
            connection.execute("ROLLBACK TO preview")
            connection.execute("RELEASE preview")
        return shown

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    def _hand_over(self, reporter: Emitter, offset_us: int, most: int | None) -> int:
        handed = 0
        while most is None or handed < most:
            with self._store.change() as (connection, now):
                allowed = reports.is_allowed(connection)  # it may have been withdrawn meanwhile
                waiting = reports.next_waiting(connection, now.wall_us + offset_us) if allowed else None
            if waiting is None:
                break
            time = _EPOCH + timedelta(microseconds=waiting.time_us)
            dropped = events_dropped(reporter)
            reporter.emit(self._account, waiting.data, time=time, id=waiting.id)
            if events_dropped(reporter) > dropped:
                # It may have been another thread's. Then this one is handed over again, and counts once all the same.
                raise OutboxFullError(
                    "the client has no room and drops what is new; the report is kept on the device: hand over later"
                )
            with self._store.change() as (connection, _):
                connection.execute("DELETE FROM outgoing WHERE id = ?", (waiting.id,))
            handed += 1
        return handed

    def _life(self, model: str, version: str, *, deployed: bool) -> bool:
        declared = self._declared(model)
        if not isinstance(version, str) or not _VERSION.fullmatch(version):
            raise ValueError("a version must look like one: 3, 1.2.0, v2-rc1 (numbers of up to six digits)")
        return self._write(
            lambda connection, _: life.tell(connection, declared, self._traits, version, deployed=deployed)
        )

    def _declared(self, model: str) -> LocalModel:
        declared = self._models.get(model) if isinstance(model, str) else None
        if declared is None:
            raise ValueError(f"the model was not declared; declared are {', '.join(sorted(self._models))}")
        return declared

    def _pseudonym(self, user: str) -> str:
        if not isinstance(user, str):
            raise ValueError("a user is named by a text, of which a hash is kept")
        if self._user_key is None:
            raise ValueError("seats of users need user_key, a secret of the account")
        return f"u-{hmac.new(self._user_key, user.encode(errors='surrogatepass'), hashlib.sha256).hexdigest()[:32]}"

    def _write(self, write: Callable[[sqlite3.Connection, int], object]) -> bool:
        try:
            with self._store.change() as (connection, now):
                write(connection, now.wall_us)
        except DeviceStoreError as error:
            self.lost += 1
            _logger.warning("a count could not be written down, and is lost: %s", error)
            return False
        return True
