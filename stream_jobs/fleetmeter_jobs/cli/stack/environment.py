"""Settings as the environment of a process that we start."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from fleetmeter_jobs.settings import ENV_PREFIX, Settings


def given_settings(settings: Settings, *, secrets: bool) -> dict[str, str]:
    """The settings that differ from the defaults because someone gave them, as text that `Settings` reads back."""
    return {
        name: _text(getattr(settings, name))
        for name in sorted(settings.model_fields_set)
        if secrets or not isinstance(getattr(settings, name), SecretStr)
    }


def environment_of(settings: Settings) -> dict[str, str]:
    """Our environment with these settings in it, and no other `FLEETMETER_` variable."""
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith(ENV_PREFIX)}
    given = given_settings(settings, secrets=True)
    return environment | {f"{ENV_PREFIX}{name.upper()}": value for name, value in given.items()}


def _text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value.absolute() if isinstance(value, Path) else value)
