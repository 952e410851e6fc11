"""`fleetmeter rates`: what needs no ClickHouse in files, and the life of a card in a real one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fleetmeter_billing.examples import example_names
from fleetmeter_local import RunningClickHouse

GOOD = """\
card: fleet
currency: EUR
effective_from: 2099-01-01
meters: {m: {measure: requests}}
prices:
  p: {label: Requests, meter: m, model: {type: unit, amount: 0.25}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "card.yaml"
    path.write_text(GOOD, encoding="utf-8")
    return path


def test_check_says_what_a_card_has(fleetmeter: Callable[..., Any], file: Path) -> None:
    ran = fleetmeter("rates", "check", str(file))
    assert ran.code == 0
    assert "fleet in EUR from 2099-01-01: 1 price, 1 meter, 1 plan." in ran.out.replace("\n", " ")


def test_check_remarks_where_a_bill_falls(fleetmeter: Callable[..., Any], file: Path) -> None:
    volume = "{type: volume, tiers: [{up_to: 10, amount: 2}, {amount: 1}]}"
    file.write_text(GOOD.replace("{type: unit, amount: 0.25}", volume), encoding="utf-8")
    ran = fleetmeter("rates", "check", str(file), "--json")
    assert ran.code == 0
    assert [one["path"] for one in ran.json[0]["remarks"]] == ["prices.p.model.tiers[0]"]
    assert "from 20 to 10 EUR" in fleetmeter("rates", "check", str(file)).out


def test_check_names_lines_and_rules(fleetmeter: Callable[..., Any], file: Path) -> None:
    file.write_text(GOOD.replace("0.25", "-1").replace("requests}", "request}"), encoding="utf-8")
    ran = fleetmeter("rates", "check", str(file), "--json")
    assert ran.code == 1
    problems = ran.json[0]["problems"]
    assert [(one["line"], one["path"], one["rule"]) for one in problems] == [
        (4, "meters.m.measure", "unknown_measure"),
        (6, "prices.p.model.amount", "greater_than_equal"),
    ]
    assert "line 6" in fleetmeter("rates", "check", str(file)).out
    assert fleetmeter("rates", "check", str(file.with_name("none.yaml"))).code == 2


def test_examples_are_printed_as_they_are(fleetmeter: Callable[..., Any], file: Path) -> None:
    assert [one["name"] for one in fleetmeter("rates", "example", "--json").json] == example_names()
    file.write_text(fleetmeter("rates", "example", "hybrid").out, encoding="utf-8")
    assert fleetmeter("rates", "check", str(file)).code == 0
    ran = fleetmeter("rates", "example", "hybird")
    assert ran.code == 2
    assert "hybrid" in ran.err


def test_the_schema_is_json(fleetmeter: Callable[..., Any]) -> None:
    assert fleetmeter("rates", "schema").json["title"] == "fleetmeter rate card"


@pytest.fixture
def on_engine(fleetmeter: Callable[..., Any], clickhouse: RunningClickHouse, database: str) -> Callable[..., Any]:
    settings = [
        *("-s", f"clickhouse_url=http://{clickhouse.host}:{clickhouse.port}"),
        *("-s", f"clickhouse_user={clickhouse.user}", "-s", f"clickhouse_password={clickhouse.password}"),
        *("-s", f"clickhouse_database={database}"),
    ]

    def run(*arguments: str) -> Any:
        return fleetmeter(*arguments, *settings)

    return run


@pytest.fixture
def nameless(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose user has a number and no name."""

    def getuser() -> str:
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr("getpass.getuser", getuser)


@pytest.mark.clickhouse
@pytest.mark.usefixtures("nameless")
def test_the_life_of_a_card(on_engine: Callable[..., Any], file: Path) -> None:
    assert on_engine("migrate").code == 0
    assert "No rate card is published" in on_engine("rates", "list").out
    assert "Published fleet version 1" in on_engine("rates", "publish", str(file), "--by", "anna").out
    again = on_engine("rates", "publish", str(file), "--json").json
    assert (again["version"], again["is_new"], again["published_by"]) == (1, False, "anna")
    assert on_engine("rates", "show", "fleet").out == GOOD

    file.write_text(GOOD.replace("0.25", "0.30"), encoding="utf-8")
    ran = on_engine("rates", "diff", "fleet", "--file", str(file), "--json")
    assert (ran.code, ran.json) == (
        1,
        [{"path": "prices.p.model.amount", "kind": "changed", "old": "0.25", "new": "0.3"}],
    )
    second = on_engine("rates", "publish", str(file), "--json").json
    assert (second["version"], second["published_by"].partition("@")[0]) == (2, "unknown")
    assert [(one["card"], one["version"]) for one in on_engine("rates", "list", "--json").json] == [
        ("fleet", 1),
        ("fleet", 2),
    ]
    assert on_engine("rates", "diff", "fleet", "--from", "1", "--to", "2").code == 1
    assert on_engine("rates", "diff", "fleet", "--from", "2", "--to", "2").code == 0
    shown = on_engine("rates", "show", "fleet", "--version", "1", "--json").json
    assert shown["content"]["prices"]["p"]["model"] == {"type": "unit", "amount": "0.25"}

    file.write_text(GOOD.replace("2099-01-01", "2098-12-31"), encoding="utf-8")
    ran = on_engine("rates", "publish", str(file))
    assert ran.code == 2
    assert "can't hold from 2098-12-31 already" in ran.err
    assert on_engine("rates", "show", "none").code == 2
    assert on_engine("rates", "show", "fleet", "--version", "9").code == 2


@pytest.mark.clickhouse
def test_books_are_written_in_this_builds_schema_only(
    on_engine: Callable[..., Any], file: Path, clickhouse_client: Any, database: str
) -> None:
    at = f"{database}.schema_migrations"
    assert on_engine("migrate").code == 0
    clickhouse_client.command(f"INSERT INTO {at} SELECT 9999, 'of_the_future', repeat('a', 64), now64(3)")
    for written in (
        ("rates", "publish", str(file)),
        ("close", "--period", "2026-10"),
        ("invoice", "make", "--period", "2026-10"),
        ("credits", "settle", "--period", "2026-10"),
    ):
        ran = on_engine(*written)
        assert (ran.code, "9999_of_the_future" in ran.err, "upgrade fleetmeter here" in ran.err) == (5, True, True), (
            ran.err
        )
    assert "No rate card is published" in on_engine("rates", "list").out

    clickhouse_client.command(f"DELETE FROM {at} WHERE version >= 12 SETTINGS lightweight_deletes_sync = 2")
    ran = on_engine("rates", "publish", str(file))
    assert (ran.code, "run `fleetmeter migrate` first" in ran.err) == (5, True)
    assert on_engine("migrate").code == 0
    assert on_engine("rates", "publish", str(file)).code == 0


@pytest.mark.clickhouse
@pytest.mark.usefixtures("nameless")
def test_the_life_of_credits(on_engine: Callable[..., Any], file: Path) -> None:
    assert on_engine("migrate").code == 0
    refused = on_engine("credits", "grant", "acount-1", "5", "--name", "payment-1", "--json")
    assert (refused.code, "There is no account 'acount-1'" in refused.err) == (2, True)
    accounts = file.with_name("accounts.yaml")
    accounts.write_text("accounts: [{account: account-1, currency: EUR}]")
    assert on_engine("accounts", "apply", str(accounts)).code == 0
    given = ("credits", "grant", "account-1", "1000.5", "--name", "payment-1", "--from", "2026-11-01")
    assert "1,000.5 more credits" in on_engine(*given).out
    assert "nothing was added" in on_engine(*given).out
    shown = on_engine("credits", "show", "account-1", "--json").json
    assert shown["grants"] == [
        {"grant": "payment-1", "granted": "1000.5", "left": "1000.5", "from": "2026-11-01", "expires": None}
    ]
    settled = on_engine("credits", "settle", "--period", "2026-11", "--json")
    assert (settled.code, "There are no invoices of 2026-11" in settled.err) == (2, True)
    assert on_engine("credits", "grant", "account-1", "1", "--name", " ").code == 2
    assert on_engine("credits", "grant", "account-1", "many", "--name", "x").code == 2
    assert on_engine("credits", "grant", "account-1", "1", "--name", "x", "--from", "tomorrow").code == 2
