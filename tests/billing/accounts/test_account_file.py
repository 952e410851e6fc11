"""Accounts as people write them, and errors that name the line."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest
from fleetmeter_billing.accounts.account_file import parse_accounts, read_accounts
from fleetmeter_billing.accounts.account_store import StoredAccount, plan_apply
from fleetmeter_billing.errors import AccountsError
from fleetmeter_billing.rates import yaml_tree

GOOD = """
accounts:
  - account: acme
    name: Acme GmbH
    currency: EUR
    time_zone: Europe/Berlin
    details: {address: "Berlin"}
    subscription:
      - {from: 2026-10-01, status: trial, card: fleet, plan: team}
      - from: 2026-11-01
        status: active
        card: fleet
        plan: team
        committed: {seats: 10}
        discounts: [{name: loyal, percent: 12.5, prices: [tokens]}]
  - account: anna
    currency: JPY
    period: anniversary
    anchor_day: 31
"""


def test_a_file_says_who_pays_and_by_which_card() -> None:
    acme, anna = parse_accounts(GOOD, "accounts.yaml")
    assert (acme.account.name, acme.account.zone.key, anna.account.rule.anchor_day) == (
        "Acme GmbH",
        "Europe/Berlin",
        31,
    )
    trial, row = acme.subscriptions
    assert (trial.status, row.status, row.committed) == ("trial", "active", {"seats": 10})
    assert row.discounts is not None
    assert (row.discounts[0].percent, row.discounts[0].prices) == (Decimal("12.5"), ("tokens",))
    assert row.discounts[0].label == "loyal", "no line of an invoice goes without a label"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("currency: EUR", "currency: EURO", r"line 5, currency: .*EURO"),
        ("Europe/Berlin", "Europe/Bonn", r"line 6, time_zone: 'Europe/Bonn' is no time zone"),
        (
            "status: trial, card: fleet, plan: team",
            "status: trial",
            r"line 9, subscription.0: a row with status trial names",
        ),
        ("from: 2026-11-01", "from: 2199-12-31", r"line 10, subscription.1.from: .*less than or equal to 2149-06-06"),
        ("seats: 10", "seats: -1", r"line 14, subscription.1.committed.seats: .*greater than or equal to 0"),
        ("percent: 12.5", "percent: 101", r"line 15, .*less than or equal to 100"),
        ("percent: 12.5", "percent: 5, amount: 3", r"line 15, .*exactly one of percent and amount"),
        (
            "{name: loyal, percent: 12.5, prices: [tokens]}",
            "{name: loyal, amount: 10}, {name: loyal, amount: 5}",
            r"line 15, subscription.1.discounts: the discount 'loyal' stands there twice",
        ),
        ("    name: Acme", "    naem: Acme", r"line 4, naem: Extra inputs are not permitted"),
        ("2026-11-01", "2026-09-01", r"line 3: the rows of a subscription stand in order"),
        ("period: anniversary", "period: calendar", r"line 16: calendar periods begin on the 1st"),
        ("account: anna", "account: acme", r"'acme' stands there twice"),
        ("accounts:", "customers:", r"one list, `accounts:`"),
        ("- account: acme", "- account: [acme", r"accounts.yaml, line 4: the text is no YAML: while parsing"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(old: str, new: str, message: str) -> None:
    with pytest.raises(AccountsError, match=message):
        parse_accounts(GOOD.replace(old, new, 1), "accounts.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xef\x00", "line 1: the file is not UTF-8 (byte 0)"),
        (b"", "one list, `accounts:`"),
        (b"accounts: &a [*a]", "line 1: more than 32 values within one another, or one within itself"),
        (b"[" * 1500, "line 1: more than 32 values"),
        (b"accounts:\n? [a]\n: b", "line 2: a key has to be text"),
        (
            b"accounts:\n- {account: a, currency: EUR, subscription: [{from: 2026-13-45}]}",
            "line 2, subscription.0.from",
        ),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_name(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "accounts.yaml"
    file.write_bytes(content)
    with pytest.raises(AccountsError, match=re.escape(message)) as raised:
        read_accounts(file)
    assert str(raised.value).startswith(str(file))


def test_a_file_may_hold_as_many_accounts_as_it_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_tree, "_MOST_NODES", 10)
    rows = "".join(f"- {{account: a{index}, currency: EUR}}\n" for index in range(20))
    assert len(parse_accounts(f"accounts:\n{rows}", "f")) == 20
    aliases = "a: &a [1, 1, 1, 1, 1, 1, 1, 1]\nb: &b [*a, *a, *a, *a]\nc: [*b, *b, *b, *b]"
    with pytest.raises(AccountsError, match="line 1: more than 73 values"):
        parse_accounts(aliases, "f")


def test_applying_tells_what_is_new_and_what_is_revised() -> None:
    before = parse_accounts(GOOD, "f")
    stored = {
        one.account.account: StoredAccount(one, 1, {row.from_day: 1 for row in one.subscriptions}) for one in before
    }
    changes = plan_apply(parse_accounts(GOOD.replace("seats: 10", "seats: 11"), "f"), stored)
    assert [(one.account, one.what, one.change, one.revision) for one in changes if one.change != "unchanged"] == [
        ("acme", "2026-11-01", "revised", 2)
    ]
    assert {one.change for one in plan_apply(before, {})} == {"new"}
    rows = "{from: 2026-01-01, card: fleet}, {from: 2026-12-DD, status: cancelled}"
    ended, later = (
        parse_accounts(f"accounts: [{{account: a, currency: EUR, subscription: [{rows}]}}]".replace("DD", day), "f")
        for day in ("01", "02")
    )
    with pytest.raises(AccountsError) as refused:
        plan_apply(later, {"a": StoredAccount(ended[0], 1)})
    told = "account 'a', with the rows that are stored: on 2026-12-02 nothing holds that could be cancelled"
    assert str(refused.value) == told
    with pytest.raises(AccountsError, match="time_zone can't change"):
        plan_apply(parse_accounts(GOOD.replace("Europe/Berlin", "Europe/Paris"), "f"), stored)
