"""The scripts behind `make chaos`, `make chaos-deterministic` and `make bench` start as users start them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("script", ["chaos/run.py", "chaos/run_deterministic.py", "bench/run.py"])
def test_a_script_finds_what_it_imports(script: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    said = subprocess.run(
        [sys.executable, TESTS / script, "--help"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    assert "usage:" in said.stdout
