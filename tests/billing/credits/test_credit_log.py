"""The log of prepaid credits in a real ClickHouse."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest
from clickhouse_connect.driver.client import Client
from fleetmeter_billing.credits.balance import balances
from fleetmeter_billing.credits.credit_log import (
    Invoiced,
    Purchase,
    accounts_with_credits,
    entries_of,
    grant,
    settle,
)
from fleetmeter_billing.credits.settlement import CreditLine
from fleetmeter_billing.errors import CreditsError

pytestmark = pytest.mark.clickhouse
NEW = Callable[[], Client]
NOVEMBER = date(2026, 11, 1)


def invoiced(number: str, credits_used: str) -> Invoiced:
    used = Decimal(credits_used)
    line = CreditLine(used, Decimal("0.01"), round(used / 100, 2))
    return Invoiced(number, "EUR", date(2026, 11, 30), [line])


def test_grants_and_draws_are_kept(new_client: NEW) -> None:
    with new_client() as client:
        first = Purchase("p-1", Decimal("1000.5"), NOVEMBER, date(2027, 1, 1))
        assert grant(client, "kept", first, by="anna")
        assert not grant(client, "kept", first, by="anna")
        with pytest.raises(CreditsError, match=r"has a grant 'p-1' already: 1000\.5 credits"):
            grant(client, "kept", Purchase("p-1", Decimal(5), NOVEMBER), by="anna")
        assert grant(client, "kept", Purchase("p-2", Decimal(50), NOVEMBER), by="anna")
        entry = settle(client, "kept", invoiced("2026-11-000001", "1020.5"), by="anna")
        assert entry is not None
        assert entry.parts == (("p-1", Decimal("1000.5")), ("p-2", Decimal(20)))
        # 1020.5 x 0.01 = 10.205, on the invoice as 10.20 (its amount is given)
        assert entry.covered == Decimal("10.20")
        # settled once, whatever is asked again
        assert settle(client, "kept", invoiced("2026-11-000001", "9999"), by="ben") == entry
        assert [one.left for one in balances(entries_of(client, "kept"))] == [Decimal("0.0"), Decimal(30)]
        assert settle(client, "kept", invoiced("2026-12-000001", "0"), by="anna") is None
        assert "kept" in accounts_with_credits(client)


@pytest.mark.parametrize(
    "bought",
    [
        Purchase("x", Decimal(0), NOVEMBER),
        Purchase("x", Decimal(-1), NOVEMBER),
        Purchase("x", Decimal(1), NOVEMBER, NOVEMBER),
        Purchase("x", Decimal(1), date(2026, 11, 1), date(2200, 1, 1)),
        Purchase("x", Decimal(1), date(1969, 12, 31)),
    ],
)
def test_what_is_no_grant_is_refused(new_client: NEW, bought: Purchase) -> None:
    with new_client() as client, pytest.raises(CreditsError):
        grant(client, "refused", bought, by="anna")


def test_rivals_never_draw_the_same_credits(new_client: NEW) -> None:
    with new_client() as client:
        grant(client, "rivals", Purchase("p-1", Decimal(100), NOVEMBER), by="anna")
    barrier = threading.Barrier(4)

    def one(number: int) -> None:
        with new_client() as client:
            barrier.wait()
            # two ask for each of two invoices, of 80 credits each
            settle(client, "rivals", invoiced(f"invoice-{number % 2}", "80"), by="anna")

    threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with new_client() as client:
        draws = [one for one in entries_of(client, "rivals") if one.kind == "draw"]
    assert sorted(one.invoice for one in draws) == ["invoice-0", "invoice-1"]
    assert sorted(one.credits for one in draws) == [Decimal(20), Decimal(80)]
