"""`fleetmeter topic grow` goes on with what was begun, and says so where it was asked for something else."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from fleetmeter_doubles.commands import run_command
from fleetmeter_jobs.cli import topic
from fleetmeter_jobs.cli.exits import Exit
from fleetmeter_jobs.ledger.growth import Growth

BEGUN = Growth("g", "topic-a", 2, 4, 660, 1, 2, None, None, frozenset({0, 1}), frozenset())


@pytest.mark.parametrize(("given", "code"), [((), 0), (("--settle-s", "660"), 0), (("--settle-s", "1800"), Exit.INPUT)])
def test_more_time_than_a_growth_was_begun_with_is_not_promised(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: tuple[str, ...], code: int
) -> None:
    grower = SimpleNamespace(find=lambda _partitions, _settle_s: BEGUN)
    monkeypatch.setattr(topic, "_grower", lambda *_, **__: grower)
    ended = run_command("topic", "grow", "--partitions", "4", "--json", *given, folder=tmp_path)
    assert ended.code == code
    if code:
        assert "begun with --settle-s 660" in ended.json["error"]["message"]
    else:
        assert ended.json["settle_s"] == 660
