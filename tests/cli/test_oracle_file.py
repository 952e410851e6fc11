"""Oracle files that can't be trusted are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fleetmeter_jobs.cli.exits import CommandError
from fleetmeter_jobs.cli.oracle import read_oracle


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "is not an oracle file"),
        ("[]", "is not an oracle file"),
        ('{"usage": []}', "is not an oracle file"),
        (json.dumps({"usage": [], "complete": False}), "interrupted"),
    ],
)
def test_what_is_no_whole_oracle(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "oracle.json"
    path.write_text(text)
    with pytest.raises(CommandError, match=problem):
        read_oracle(path)


def test_an_oracle_is_read(tmp_path: Path) -> None:
    path = tmp_path / "oracle.json"
    path.write_text(json.dumps({"usage": [], "complete": True}))
    assert read_oracle(path) == {"usage": [], "complete": True}
