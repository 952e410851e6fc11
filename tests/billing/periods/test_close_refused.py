"""Closes that are refused, with what is lacking; and nothing is frozen then."""

from __future__ import annotations

import pytest
from fleetmeter_billing.accounts.account_store import load_accounts
from fleetmeter_billing.errors import AccountsError, IncompleteError, LedgerShrankError, PeriodError
from fleetmeter_billing.periods.close import CloseRules, CloseWorld, close_period
from fleetmeter_billing.periods.close_log import winning_closes
from fleetmeter_doubles.closing_processes import strays
from fleetmeter_doubles.counted_usage import CountedUsage, apply_yaml, one_card

pytestmark = pytest.mark.clickhouse

RULES = CloseRules(lateness_s=3600, by="test")
ACME = """
accounts:
  - account: acme
    currency: EUR
    time_zone: Europe/Berlin
    subscription: [{from: 2026-01-01, card: fleet}]
"""


def test_a_period_is_refused_until_accounts_cards_and_every_minute_are_there(counted: CountedUsage) -> None:
    client = counted.client
    with pytest.raises(PeriodError, match="is no billing period"):
        close_period(client, "november", one_card, RULES)
    with pytest.raises(PeriodError, match="no account has a billing period 2026-11"):
        close_period(client, "2026-11", one_card, RULES)
    apply_yaml(client, ACME)
    with pytest.raises(PeriodError, match="no account has a billing period 2026-11-15"):
        close_period(client, "2026-11-15", one_card, RULES)
    with pytest.raises(AccountsError, match="rate card 'fleet' has no version that is effective by then"):
        close_period(client, "2026-11", dict, RULES)
    with pytest.raises(IncompleteError, match="nothing has been counted yet"):
        close_period(client, "2026-11", one_card, RULES)
    # Berlin's November ends at 23:00Z; with an hour of lateness it is complete at midnight.
    counted.marker("2026-11-30 23:59:59")
    counted.marker("2026-12-02 00:00:00", partition=1)
    with pytest.raises(IncompleteError, match=r"t/0 has come to 2026-11-30 23:59:59 and lacks 1 second\. ") as refused:
        close_period(client, "2026-11", one_card, RULES)
    assert "t/1 has" not in str(refused.value)
    assert winning_closes(client) == []
    retired = CloseRules(lateness_s=3600, retired_topics=("t",))
    with pytest.raises(IncompleteError, match="nothing has been counted yet"):
        close_period(client, "2026-11", one_card, retired)
    assert not strays(client)
    counted.marker("2026-12-01 00:00:00")
    assert close_period(client, "2026-11", one_card, RULES).ours


def test_a_partition_with_records_that_no_worker_took_is_not_complete(counted: CountedUsage) -> None:
    client = counted.client
    apply_yaml(client, ACME)
    counted.marker("2026-12-02 00:00:00")
    counted.marker("2026-12-02 00:00:00", partition=1)

    def close(written: dict[tuple[str, int], int], retired: tuple[str, ...] = ()) -> bool:
        rules = CloseRules(lateness_s=3600, retired_topics=retired)
        return close_period(client, "2026-11", one_card, rules, CloseWorld(log_ends=lambda _topics: written)).ours

    counted_and_empty = {("t", 0): 7, ("t", 1): 0, ("t", 2): 0}
    with pytest.raises(IncompleteError, match="Kafka has records in t/3, u/0, which no worker ever took"):
        close({**counted_and_empty, ("t", 3): 1, ("u", 0): 5})
    with pytest.raises(IncompleteError, match="Kafka has records in t/3, which no worker ever took"):
        close({**counted_and_empty, ("t", 3): 1, ("u", 0): 5}, retired=("u",))
    with pytest.raises(IncompleteError, match="this Kafka has no topic t, which was counted"):
        close({("u", 0): 0})
    assert winning_closes(client) == []
    assert not strays(client)
    assert close(counted_and_empty), "what holds no record lacks none"


def test_a_ledger_that_lost_rows_is_never_credited(counted: CountedUsage) -> None:
    apply_yaml(counted.client, ACME)
    counted.usage("acme", "2026-11-05 10:00:00", output_tokens=10)
    counted.marker("2026-12-01 00:00:00")
    close_period(counted.client, "2026-11", one_card, RULES)
    counted.client.command("DELETE FROM ledger WHERE row_kind = 'usage'", settings={"lightweight_deletes_sync": 2})
    counted.marker("2027-01-02 00:00:00")
    with pytest.raises(LedgerShrankError, match="acme in 2026-11"):
        close_period(counted.client, "2026-12", one_card, RULES)
    assert not strays(counted.client)
    # Outside the correction window nothing is compared, and the period can be closed.
    rules = CloseRules(lateness_s=3600, window_days=-1)
    assert close_period(counted.client, "2026-12", one_card, rules).close.corrected == ()


def test_a_stored_row_that_no_version_writes_is_told_in_words(counted: CountedUsage) -> None:
    apply_yaml(counted.client, "accounts: [{account: acme, currency: EUR, subscription: []}]")
    twice = '{"committed": null, "discounts": [{"name": "x", "percent": "5"}, {"name": "x", "percent": "6"}]}'
    row = {"account_id": "acme", "from_day": "2026-01-01", "revision": 1, "status": "active", "card": "fleet"}
    counted.put("billing_subscriptions", [{**row, "terms": twice}])
    with pytest.raises(
        AccountsError, match="'acme' as it is stored can't be used: the discount 'x' stands there twice:"
    ):
        load_accounts(counted.client)
