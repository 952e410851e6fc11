"""Running commands in this process: what they print, and how they end."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fleetmeter_doubles.commands import logging_as_before
from fleetmeter_jobs.cli.app import run


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """What a command does to this process's log ends with the test."""
    with logging_as_before():
        yield


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting from outside, and a data folder of the test's own."""
    for name in list(os.environ):
        if name.startswith("FLEETMETER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("FLEETMETER_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture
def fleetmeter(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """`fleetmeter("config", "--json")` runs the command and returns how it ended."""

    def call(*arguments: str) -> Ran:
        with pytest.raises(SystemExit) as ended:
            run(arguments)
        out, err = capfd.readouterr()
        return Ran(int(ended.value.code or 0), out, err)

    return call
