"""The life of models on a device: downloaded, deployed, upgraded, removed. Each change is reported once.

An app tells at each start how things stand; what is known already changes nothing. The statements here run inside a
`Store.change`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from fleetmeter_producers.device import reports
from fleetmeter_producers.device.traits import DeviceTraits, LocalModel


def tell(
    connection: sqlite3.Connection, model: LocalModel, traits: DeviceTraits, version: str, *, deployed: bool
) -> None:
    """A version of a model is on the device, or in use."""
    row = connection.execute("SELECT downloaded, deployed FROM model WHERE name = ?", (model.name,)).fetchone()
    had, used = row or ("", "")
    if version not in {had, used}:
        reports.tell(connection, "download", model, traits, version)
        had = version
    if deployed and used != version:
        reports.tell(connection, "upgrade" if used else "deploy", model, traits, version, previous=used)
        used = version
    connection.execute("REPLACE INTO model VALUES (?, ?, ?)", (model.name, had, used))


def tell_removal(connection: sqlite3.Connection, model: LocalModel, traits: DeviceTraits) -> None:
    """A model is gone; if it was never here, there is nothing to report."""
    row = connection.execute(
        "DELETE FROM model WHERE name = ? RETURNING downloaded, deployed", (model.name,)
    ).fetchone()
    if row is not None:
        downloaded, deployed = row
        reports.tell(connection, "remove", model, traits, deployed or downloaded)


def tell_what_is_here(connection: sqlite3.Connection, models: Mapping[str, LocalModel], traits: DeviceTraits) -> None:
    """Report the models that are on the device, as it stands."""
    for name, downloaded, deployed in connection.execute("SELECT * FROM model").fetchall():
        model = models.get(name)
        if model is None:
            continue  # an app that no longer declares it does not speak of it
        for version in dict.fromkeys(version for version in (deployed, downloaded) if version):
            reports.tell(connection, "download", model, traits, version)
        if deployed:
            reports.tell(connection, "deploy", model, traits, deployed)
