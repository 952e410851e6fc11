"""The commands that help to decide, on two closed periods: options, tables, JSON and exit codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fleetmeter_doubles.billing_store import new_store
from fleetmeter_doubles.counted_usage import CountedUsage
from fleetmeter_doubles.decided_periods import CARD, two_closed_periods
from fleetmeter_local import RunningClickHouse

pytestmark = pytest.mark.clickhouse

COSTS = """
costs: seconds
currency: USD
exchange: {EUR: 0.5}
rules: [{name: all, amounts: [{measure: gpu_ms, amount: 1, per: 1000}]}]
"""


@pytest.fixture(scope="module")
def decided(clickhouse: RunningClickHouse) -> Iterator[CountedUsage]:
    with new_store(clickhouse) as store:
        yield two_closed_periods(store.client)


@pytest.fixture
def run(
    fleetmeter: Callable[..., Any], clickhouse: RunningClickHouse, decided: CountedUsage, tmp_path: Path
) -> Callable[..., Any]:
    (tmp_path / "costs.yaml").write_text(COSTS, encoding="utf-8")
    (tmp_path / "card.yaml").write_text(CARD.replace("amount: 2}", "amount: 3}"), encoding="utf-8")
    settings = [
        *("-s", f"clickhouse_url=http://{clickhouse.host}:{clickhouse.port}"),
        *("-s", f"clickhouse_user={clickhouse.user}", "-s", f"clickhouse_password={clickhouse.password}"),
        *("-s", f"clickhouse_database={decided.client.database}"),
    ]

    def run(*arguments: str) -> Any:
        filled = [one.replace("COSTS", str(tmp_path / "costs.yaml")) for one in arguments]
        return fleetmeter(*[one.replace("CARD", str(tmp_path / "card.yaml")) for one in filled], *settings)

    return run


def test_simulating_and_publishing(run: Callable[..., Any]) -> None:
    """delta pays 20 for 10,000 tokens at 2, and would pay 30 at 3 (see test_simulation)."""
    ran = run("rates", "simulate", "CARD", "--period", "2026-11")
    assert ran.code == 0
    assert "3 accounts: 0 pay less, 1 pay more. All together 200.00 to 210.00 EUR (+10.00, +5.00 %)." in ran.out
    (effect,) = run("rates", "simulate", "CARD", "--period", "2026-11", "--json").json["effects"]
    assert [(one["name"], one["difference"]) for one in effect["losers"]] == [("delta", "10.00")]
    same = run("rates", "simulate", "fleet", "--against", "1", "--period", "2026-11", "--json").json["effects"]
    assert same[0]["total"]["difference"] == "0.00"
    with_costs = ("rates", "simulate", "CARD", "--period", "2026-11", "--costs", "COSTS")
    # 200 billed less 360 of cost (see test_margins); the same cost under a card that bills 210.
    assert "Margin: -160.00 EUR (-80.0 %) before, -150.00 EUR (-71.4 %) after." in run(*with_costs).out
    (both,) = run(*with_costs, "--json").json["margins"]
    assert (both["currency"], Decimal(both["before"]["cost"]), Decimal(both["after"]["cost"])) == ("EUR", 360, 360)
    assert Decimal(both["after"]["revenue"]) - Decimal(both["before"]["revenue"]) == 10
    refused = run("rates", "publish", "CARD", "--backdated")
    assert (refused.code, "delta: from 30.00 to 40.00 EUR" in refused.err) == (2, True)
    assert "--accept" in refused.err


def test_margins_and_drift(run: Callable[..., Any]) -> None:
    rows = run("margin", "show", "--period", "2026-11", "--costs", "COSTS", "--json").json["rows"]
    assert {(one["model"], one["generation_mode"]): one["margin"] for one in rows} == {
        ("m", "diffusion"): "30.000000000000",
        ("ar", "autoregressive"): "-200.000000000000",
        ("(fees, seats, outcomes)", ""): "30.000000000000",
        ("m", "(jobs)"): "-20.000000000000",
    }
    shown = run("margin", "show", "--period", "2026-11", "--costs", "COSTS", "--by", "account")
    assert "200.00 less 360.00 = -160.00 EUR (-80.0 %)" in shown.out
    assert "21 of 322 requests and jobs" in shown.err
    drift = ("margin", "drift", "--from", "2026-10", "--to", "2026-11", "--costs", "COSTS", "--account", "acme")
    ran = run(*drift)
    assert (ran.code, "-30.0 points" in ran.out) == (1, True)
    assert run(*drift, "--points", "31").code == 0
    assert run("margin", "show", "--period", "2026-11", "--costs", "COSTS", "--by", "modell").code == 2
    nobody = run("margin", "show", "--period", "2026-11", "--costs", "COSTS", "--account", "nobody")
    assert (nobody.code, "has no usage of nobody" in nobody.err) == (2, True)


def test_counterfactuals(run: Callable[..., Any]) -> None:
    """With half the steps 180 s become 90 s: 45 EUR less of 340."""
    found = run("counterfactual", "steps", "--percent", "50", "--period", "2026-11", "--costs", "COSTS", "--json").json
    (total,) = found["totals"]
    assert [float(total[side]["cost"]) for side in ("actual", "otherwise")] == [340.0, 295.0]
    assert [total[side]["bill"] for side in ("actual", "otherwise")] == ["200.00", "200.00"]
    # 500 s for 50,000 tokens are 10 ms a token: acme's 100,000 parallel tokens take 1,000 s instead of 180, and
    # delta's 10,000, which nobody timed, 100 s. 1,600 s at half a euro.
    model = ("--model", "llama-3.1-8b")
    (total,) = run(
        "counterfactual", "autoregressive", *model, "--period", "2026-11", "--costs", "COSTS", "--json"
    ).json["totals"]
    assert float(total["otherwise"]["cost"]) == 800.0
    assert run("counterfactual", "all-cloud", "--period", "2026-11").code == 0
    assert run("counterfactual", "local", "--share", "101", "--period", "2026-11").code == 2


def test_experiments(run: Callable[..., Any]) -> None:
    (listed,) = run("experiment", "list", "--json").json
    assert (listed["experiment"], listed["versions"], listed["runs"]) == ("cheaper", [1], True)
    arms = run("experiment", "arm", "cheaper", "acme", "delta", "--card", "fleet", "--json").json
    assert [one["arm"] for one in arms] == ["half", "control"]
    report = ("experiment", "report", "cheaper", "--card", "fleet", "--period", "2026-11")
    found = run(*report, "--costs", "COSTS", "--json").json["arms"]
    assert [(one["arm"], one["accounts"], one["revenue"], one["outcomes"]) for one in found] == [
        ("control", 1, "30.00", {"ticket_resolved": 4}),
        ("half", 1, "160.00", {"ticket_resolved": 5}),
    ]
    assert run(*report).code == 0
    assert run("experiment", "report", "none", "--card", "fleet", "--period", "2026-11").code == 2


def test_entitlements_estimates_and_routing(run: Callable[..., Any], decided: CountedUsage) -> None:
    shown = run("entitlements", "show", "acme", "--json").json
    assert (shown["plan"], shown["stated"]) == ("cheap", False)
    assert run("entitlements", "check", "--period", "2026-11").code == 0
    assert run("entitlements", "serve", "--host", "192.0.2.1", "--open").code == 2
    span = ("--from", "2026-11-01", "--to", "2026-12-01")
    assert run("estimates", *span).code == 0
    bad = {"kind": "estimate", "model": "llama-3.2-1b", "active_ms": 10**9, "event_type": "device_report"}
    place = {"account_id": "acme", "source": "d", "event_id": "x", "time": "2026-11-09 00:00:00", "topic": "t"}
    ends = {"period_start": "2026-11-01 00:00:00", "period_end": "2026-11-02 00:00:00"}
    decided.put("usage_estimates", [{**bad, **place, **ends}])
    ran = run("estimates", *span)
    assert (ran.code, "computed for 1,000,000,000 ms in a period of 86,400,000 ms" in ran.out) == (1, True)
    common = {"generation_mode": "", "model": "small", "query_class": "complex"}
    failed = {"event_type": "fallback", "requests": 0, "fallbacks": 90, "fallback_reason": "low_confidence"}
    decided.usage("acme", "2026-11-20 10:00:00", **common, **failed)
    decided.usage("acme", "2026-11-20 10:00:00", **common, requests=10, placement="device")
    (advice,) = run("routing", *span, "--cloud-query-cost", "0.01", "--json").json
    assert (advice["advice"], advice["rate"], advice["more_cost"]) == ("route to the cloud", 0.9, "0.10")
    assert run("routing", *span).code == 0
