"""Whoever waits for a ready file may read it the moment that it is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fleetmeter_jobs.ready_file import write_ready_file


def test_the_file_is_there_as_a_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run" / "x.json"
    seen: list[object] = []
    write_text = Path.write_text

    def watched(self: Path, text: str, **options: str) -> int:
        seen.append(json.loads(path.read_text()) if path.exists() else None)
        written = write_text(self, text, **options)
        seen.append(json.loads(path.read_text()) if path.exists() else None)
        return written

    monkeypatch.setattr(Path, "write_text", watched)
    write_ready_file(path, url="http://127.0.0.1:1")
    write_ready_file(path, url="http://127.0.0.1:2")
    assert seen == [None, None, *[{"url": "http://127.0.0.1:1"}] * 2]
    assert json.loads(path.read_text()) == {"url": "http://127.0.0.1:2"}
    assert list(path.parent.iterdir()) == [path]
