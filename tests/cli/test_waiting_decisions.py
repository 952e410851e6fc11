"""A decision that waits for the store says why, and knows whether it is one with replicas."""

from __future__ import annotations

import pytest
from fleetmeter_jobs.cli import topic
from fleetmeter_jobs.cli.ledger import decision_context
from fleetmeter_jobs.ledger.errors import StoreUnavailableError
from fleetmeter_jobs.ledger.retry import Backoff, until_answered
from fleetmeter_jobs.settings import Settings


def test_what_is_waited_for_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    answers = iter(["code 164: read-only", "code 164: read-only", "code 243: disk full"])

    def call() -> str:
        for text in answers:
            raise StoreUnavailableError(text)
        return "done"

    context = decision_context(Settings())
    waited = until_answered(
        call, context.cancel, Backoff(first_s=0), "deciding", lambda error: context.observer.failed("usage-0/0", error)
    )
    assert waited == "done"
    said = capsys.readouterr()
    assert said.out == ""
    assert [said.err.count(why) for why in ("usage-0/0 waits", "read-only", "disk full")] == [2, 1, 1]


@pytest.mark.parametrize(("path", "ghosts"), [("", True), ("/clickhouse/tables/{shard}/{database}/{table}", False)])
def test_on_replicas_a_growth_raises_no_attempt(path: str, ghosts: bool) -> None:
    settings = Settings(clickhouse_replicated_path=path)
    assert decision_context(settings).ghosts is ghosts
    assert topic._grower(settings, "ana", as_json=True).context.ghosts is ghosts
