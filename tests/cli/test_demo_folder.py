"""The demo's folder: gone afterwards, but kept for its logs where the demo failed."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from fleetmeter_jobs.cli.demo import _folder


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def fail_in_folder(error: BaseException) -> None:
    with _folder() as folder:
        (folder / "worker-1.log").write_text("why")
        raise error


def test_a_demo_that_ends_well_leaves_nothing(tmp_path: Path) -> None:
    with _folder() as folder:
        (folder / "worker-1.log").write_text("all well")
    assert list(tmp_path.iterdir()) == []


def test_a_demo_that_fails_keeps_its_logs_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError):
        fail_in_folder(RuntimeError("no broker"))
    (kept,) = tmp_path.iterdir()
    assert (kept / "worker-1.log").read_text() == "why"
    assert kept.name in capsys.readouterr().err


def test_a_demo_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fail_in_folder(KeyboardInterrupt())
    assert list(tmp_path.iterdir()) == []
