"""Commands in this process: a second of imports cheaper, each, than in a process of their own."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from fleetmeter_jobs.cli.app import run


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its document: the answer, or the error of a command that has none."""
        return json.loads(self.out or self.err)


def run_command(*arguments: str, folder: Path, **settings: object) -> Ended:
    """`fleetmeter` with these arguments, in that folder, with these settings as its only variables.

    The environment, the folder and the output are the whole process's: one command at a time.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith("FLEETMETER_")}
    variables = own | {f"FLEETMETER_{name.upper()}": str(value) for name, value in settings.items()}
    variables |= {"COLUMNS": "160"}  # whatever terminal the tests are run in
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="", write_through=True) for _ in range(2))
    code: object = 0
    with (
        patch.dict(os.environ, variables, clear=True),
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        logging_as_before(),
    ):
        try:
            run(arguments)
        except SystemExit as ended:
            code = ended.code
    return Ended(code if isinstance(code, int) else int(code is not None), _text(out), _text(err))


@contextlib.contextmanager
def logging_as_before() -> Iterator[None]:
    """Around a command in this process: its log handler writes to a standard error that is closed after the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def _text(printed: io.TextIOWrapper[io.BytesIO]) -> str:
    return printed.buffer.getvalue().decode()
