"""Options that many commands share, and the settings that follow from them."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

import typer

from fleetmeter_jobs.cli.exits import CommandError
from fleetmeter_jobs.cli.stack.state import running_settings
from fleetmeter_jobs.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of text for people.")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Folder of the local stack (default: $FLEETMETER_DATA_DIR, else ./.fleetmeter).",
        show_default=False,
        file_okay=False,
    ),
]
Given = Annotated[
    list[str] | None,
    typer.Option(
        "--setting",
        "-s",
        metavar="NAME=VALUE",
        help="Any setting of `fleetmeter config`, such as -s topic=usage; wins over FLEETMETER_<NAME>.",
        show_default=False,
    ),
]


def decimal(text: str) -> Decimal:
    """Reads the number of an option, exactly: zero or more, and finite. Raises typer.BadParameter."""
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise typer.BadParameter(f"{text!r} is no number, such as 12.5.") from error
    if not number.is_finite() or number < 0:
        raise typer.BadParameter(f"{text} is not zero or more.")
    return number


def own_settings(data_dir: Path | None, given: list[str] | None) -> Settings:
    """Settings from the options and the environment alone: for whoever starts a stack.

    Raises CommandError or SettingsError for one that is unknown or has a bad value.
    """
    options: dict[str, Any] = {}
    for pair in given or []:
        name, equals, value = pair.partition("=")
        if not equals:
            raise CommandError(f"--setting {pair!r} is not NAME=VALUE, such as topic=usage.")
        options[name.strip()] = value
    if data_dir is not None:
        options["data_dir"] = data_dir
    return Settings.load(**options)


def settings_of_stack(data_dir: Path | None, given: list[str] | None) -> Settings:
    """Settings for a command that talks to a stack: options, then the environment, then the stack that runs in the
    data folder, then the defaults."""
    settings = own_settings(data_dir, given)
    found = {
        name: value
        for name, value in running_settings(settings.data_dir).items()
        if name not in settings.model_fields_set
    }
    if not found:
        return settings
    explicit = {name: getattr(settings, name) for name in settings.model_fields_set}
    return Settings.load(**{**found, **explicit})
