"""One check that can't be made is told, and does not keep the audit from the others; a store that is away does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from fleetmeter_jobs.audit import AuditContext, run_checks
from fleetmeter_jobs.cli.ledger import audit_store
from fleetmeter_jobs.ledger.errors import StoreUnavailableError
from fleetmeter_jobs.settings import Settings


class SlowStore:
    """Has no time for the ledger's rows; whether it answers at all is the test's to say."""

    def __init__(self, *, away: bool) -> None:
        self._away = away

    def rows(self, statement: str, **_: object) -> list[Any]:
        if self._away or "FROM ledger" in statement:
            raise StoreUnavailableError("code 159: time-out exceeded")
        return []


def context(*, away: bool) -> AuditContext:
    store = SimpleNamespace(http=SlowStore(away=away))
    made = SimpleNamespace(settings=Settings(), store=store, progress=lambda _what: None)
    return cast("AuditContext", made)


def test_a_check_that_can_t_be_made_is_a_problem_and_the_others_are_made() -> None:
    chain, completeness = run_checks(context(away=False), ("chain", "completeness"))
    assert (chain.name, chain.ok) == ("chain", False)
    assert "could not be checked: code 159" in str(chain.findings[0])
    assert (completeness.name, completeness.ok) == ("completeness", True)


def test_a_store_that_is_away_ends_the_audit() -> None:
    with pytest.raises(StoreUnavailableError):
        run_checks(context(away=True), ("chain", "completeness"))


def test_an_audit_has_more_time_for_a_statement_than_a_commit() -> None:
    assert audit_store(Settings(insert_timeout_s=20)).http.timeout_s == 1800
    assert audit_store(Settings(insert_timeout_s=3600)).http.timeout_s == 3600
