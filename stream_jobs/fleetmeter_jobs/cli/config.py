"""`fleetmeter config`: every setting, its value, and where the value comes from."""

from __future__ import annotations

from typing import Any

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.options import DataDir, Given, Json, own_settings, settings_of_stack
from fleetmeter_jobs.cli.output import print_json, print_table
from fleetmeter_jobs.settings import ENV_PREFIX, Settings

app = command_app()


@app.command()
def config(as_json: Json = False, data_dir: DataDir = None, setting: Given = None) -> None:
    """Print every setting, its value and where the value comes from.

    Passwords are never printed. An unknown FLEETMETER_ variable is an error.

    Example: fleetmeter config -s flush_interval_s=0.2
    """
    own = own_settings(data_dir, setting)
    settings = settings_of_stack(data_dir, setting)
    options = {pair.partition("=")[0].strip() for pair in setting or []} | ({"data_dir"} if data_dir else set())
    rows = [_describe(name, settings, own, options) for name in Settings.model_fields]
    if as_json:
        print_json({row["name"]: {key: row[key] for key in ("value", "from", "variable", "meaning")} for row in rows})
        return
    print_table(
        ("setting", "value", "from", "meaning"), [[r["name"], r["value"], r["from"], r["meaning"]] for r in rows]
    )


def _describe(name: str, settings: Settings, own: Settings, options: set[str]) -> dict[str, Any]:
    if name in own.model_fields_set:
        origin = "option" if name in options else "environment"
    else:
        origin = "running stack" if name in settings.model_fields_set else "default"
    value = getattr(settings, name)
    if isinstance(value, tuple):
        value = ",".join(value)
    elif not isinstance(value, int | float | None):
        value = str(value)
    return {
        "name": name,
        "value": value,
        "from": origin,
        "variable": f"{ENV_PREFIX}{name.upper()}",
        "meaning": Settings.model_fields[name].description or "",
    }
