"""Costs by rules, revenue shared out, margins and their drift; figures computed by hand."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fleetmeter_billing.decide.attribution import share_out
from fleetmeter_billing.decide.costs import Cost, Costs, cost_of, load_costs, parse_costs
from fleetmeter_billing.decide.jobs import JOBS
from fleetmeter_billing.decide.margin import UNSHARED, Margin, by, drifts, margins, read_margins
from fleetmeter_billing.decide.priced_period import as_billed, read_closed
from fleetmeter_billing.decide.traffic import Traffic
from fleetmeter_billing.errors import CostsError
from fleetmeter_billing.invoices.period_lines import PeriodUsage, rate_period
from fleetmeter_billing.rates.store import load_card
from fleetmeter_billing.rates.usage import MeteredUsage
from fleetmeter_doubles.counted_usage import CountedUsage
from fleetmeter_doubles.invoice_samples import card, cards, segment
from fleetmeter_schemas.events import GenerationV1

D = Decimal
SHORT, *_, LONG = GenerationV1.BANDS[0].labels
COSTS = """
costs: fleet
currency: USD
exchange: {EUR: 0.5}
rules:
  - {name: devices, when: {placement: device}}
  - name: bought
    when: {provider: [openai, anthropic]}
    amounts: [{measure: upstream_cost_nanousd, amount: 1, per: 1_000_000_000}]
  - name: own
    when: {provider: ""}
    amounts:
      - {measure: gpu_ms, amount: 3.60, per: 3_600_000}
      - {measure: output_tokens, amount: 0.02, per: 1000}
"""


def row(sums: dict[str, int] | None = None, **dimensions: str) -> Traffic:
    known = {"placement": "cloud", "provider": "", "model": "m", "generation_mode": "diffusion"}
    return Traffic("acme", 0, {"usage_fidelity": "measured", **known, **dimensions}, sums or {})


def test_the_first_rule_that_matches_says_what_usage_costs() -> None:
    costs = parse_costs(COSTS)
    used = {"requests": 10, "gpu_ms": 1_000_000, "gpu_ms_samples": 10, "output_tokens": 5_000}
    # 10^6 ms at 3.60 an hour of 3.6 * 10^6 ms = 1; 5,000 tokens at 0.02 a thousand = 0.10.
    assert cost_of(row(used), costs) == Cost("own", D("1.10"), 0)
    assert cost_of(row(used, placement="device"), costs) == Cost("devices", D(0), 0)
    bought = {"requests": 3, "upstream_cost_nanousd": 250_000_000, "upstream_cost_nanousd_samples": 3}
    assert cost_of(row(bought, provider="openai"), costs) == Cost("bought", D("0.25"), 0)


def test_what_nobody_reported_is_not_zero() -> None:
    costs = parse_costs(COSTS)
    part = {"requests": 10, "gpu_ms": 1_000_000, "gpu_ms_samples": 4}
    assert cost_of(row(part), costs) == Cost("own", D(1), 6)
    assert cost_of(row({"requests": 7}, provider="unheard"), costs) == Cost(None, D(0), 7)


def test_tokens_of_requests_that_report_no_steps_are_not_in_steps_per_token() -> None:
    used = {"requests": 10, "output_tokens": 4_000, "denoising_steps": 60, "denoising_steps_samples": 3}
    (one,) = margins({}, {}, [row(used)], parse_costs(COSTS), {"acme": "USD"})
    # Three of ten requests with 1,200 of the 4,000 tokens: 60 / 1,200.
    assert (one.output_tokens, one.stepped_tokens, one.steps_per_token) == (4_000, 1_200, D("0.05"))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("gpu_ms, amount", "gpu_hours, amount", "line 13: rules.2.amounts.0.measure: .*gpu_hours.* no measure"),
        ("placement: device", "labels: device", "line 6: .*labels: no dimension"),
        ("currency: USD", "currency: EUR", "line 2: .*in US dollars, and the file in EUR"),
        ("name: own", "name: devices", "two rules have the same name"),
        ("amount: 0.02", "amount: -1", "line 14: .*greater than or equal to 0"),
        ("costs: fleet", "cost: fleet", "line 2: cost: Extra"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_line(old: str, new: str, why: str) -> None:
    assert old in COSTS
    with pytest.raises(CostsError, match=f"(?s){why}"):
        parse_costs(COSTS.replace(old, new, 1))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xef\x00", "can't be read:\n  line 1: the file is not UTF-8 (byte 0)"),
        (b"", "can't be used:\n  line 1: costs are a mapping that begins with `costs:`"),
        (b"- 1", "can't be used:\n  line 1: costs are a mapping"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_name(tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "costs.yaml"
    file.write_bytes(content)
    with pytest.raises(CostsError, match=re.escape(f"{file} {why}")):
        load_costs(file)


def shares(prices: dict[str, Any], meters: dict[str, Any], rows: list[Traffic]) -> dict[int | None, Decimal]:
    published = card(prices, meters=meters)
    usage = []
    for meter in published.card.meters.values():
        for one in rows:
            group = tuple((name, one.dimensions[name]) for name in meter.group_by)
            usage.append(MeteredUsage(meter.name, group, one.metered(meter)))
    lines = rate_period(PeriodUsage((segment(),), {0: tuple(usage)}), cards(published))
    return share_out(lines, {0: published.card}, rows)


def test_a_price_is_shared_out_by_weighted_quantities_with_its_minimum() -> None:
    """600 sequential tokens and 1,000 parallel ones that count 0.4 times: 1,000 in all at 0.01 = 10.00, and a minimum
    of 20.00. So 600/1,000 of 20 is sequential: 12, and 8 parallel. The fee of 5 is nobody's."""
    tokens = {
        "label": "Tokens",
        "meter": "tokens",
        "model": {"type": "unit", "amount": "0.01"},
        "minimum": "20",
        "multipliers": [{"by": "generation_mode", "values": {"diffusion": "0.4"}}],
    }
    fee = {"label": "Fee", "model": {"type": "flat", "amount": "5"}}
    found = shares(
        {"fee": fee, "tokens": tokens},
        {"tokens": {"measure": "output_tokens", "group_by": ["generation_mode"]}},
        [
            row({"output_tokens": 600}, generation_mode="autoregressive"),
            row({"output_tokens": 1_000}),
            row({"output_tokens": 9_000}, usage_fidelity="estimated"),
        ],
    )
    assert found == {None: D(5), 0: D(12), 1: D(8)}


def test_rules_and_iterations_are_shared_out_to_what_they_count() -> None:
    """In the last context band a token costs 0.02 instead of 0.01: 100 of one row = 2.00, 300 of the other = 3.00.
    Iterations at 0.50: 6 and 2, so 3.00 and 1.00."""
    prices = {
        "tokens": {
            "label": "Tokens",
            "meter": "tokens",
            "model": {"type": "unit", "amount": "0.01"},
            "rules": [{"name": "long", "when": {"context_band": [LONG]}, "model": {"type": "unit", "amount": "0.02"}}],
        },
        "hybrid": {
            "label": "Hybrid",
            "meter": "tokens",
            "model": {"type": "hybrid", "amount": "0", "iterations": {"meter": "steps", "amount": "0.50"}},
        },
    }
    meters = {
        "tokens": {"measure": "output_tokens", "group_by": ["context_band"]},
        "steps": {"measure": "denoising_steps"},
    }
    rows = [
        row({"output_tokens": 100, "denoising_steps": 6}, context_band=LONG),
        row({"output_tokens": 300, "denoising_steps": 2}, context_band=SHORT),
    ]
    assert shares(prices, meters, rows) == {0: D(2) + D(3), 1: D(3) + D(1)}


def euros(costs: str = COSTS) -> Costs:
    """One dollar a second of accelerator time, half a euro each."""
    text = costs.replace("amount: 3.60, per: 3_600_000", "amount: 1, per: 1000")
    return parse_costs(text.replace("      - {measure: output_tokens, amount: 0.02, per: 1000}\n", ""))


def read(decided: CountedUsage, period: str, *accounts: str) -> list[Margin]:
    closed = read_closed(decided.client, period, accounts)
    billed = as_billed(lambda name, version: load_card(decided.client, name, version))
    return read_margins(decided.client, closed, euros(), billed, accounts)


@pytest.mark.clickhouse
def test_margins_of_a_closed_period(decided: CountedUsage) -> None:
    """acme is billed 1 per 1,000 tokens: 100 parallel, 50 sequential. 6,000 steps of 30 ms are 180 s: 90 EUR; 500 s are
    250 EUR. delta is billed 2 per 1,000: 20, and its server reported no time for 20 requests. Fees are 10 each. A job
    of gamma took 40 s: 20 EUR; another one did not say."""
    found = {(one.account, one.model, one.generation_mode): one for one in read(decided, "2026-11")}
    assert {key: (one.revenue, one.cost, one.unseen) for key, one in found.items()} == {
        ("acme", "m", "diffusion"): (D(100), D(90), 0),
        ("acme", "ar", "autoregressive"): (D(50), D(250), 0),
        ("acme", UNSHARED, ""): (D(10), D(0), 0),
        ("delta", "m", "diffusion"): (D(20), D(0), 20),
        ("delta", UNSHARED, ""): (D(10), D(0), 0),
        ("gamma", UNSHARED, ""): (D(10), D(0), 0),
        ("gamma", "m", JOBS): (D(0), D(20), 1),
    }
    (total,) = by(found.values(), ())
    # 160 + 30 + 10 billed, 340 + 20 spent.
    assert (total.revenue, total.cost, total.margin, total.percent) == (D(200), D(360), D(-160), D(-80))
    assert found["acme", "m", "diffusion"].steps_per_token == D("0.06")


@pytest.mark.clickhouse
def test_a_drift_of_steps_that_moves_the_margin_is_an_alarm(decided: CountedUsage) -> None:
    """From 0.04 to 0.06 steps a token is +50 %. The margin falls from 40 in 100 to 10 in 100: 30 points. With the steps
    of October the traffic of November would have cost 60 instead of 90."""
    before, after = read(decided, "2026-10", "acme"), read(decided, "2026-11", "acme")
    (drift,) = drifts(before, after, steps_percent=D(10), points=D(2))
    assert (drift.steps_percent, drift.points, drift.cost_of_steps, drift.points_of_steps) == (50, -30, 30, -30)
    assert (drift.after.model, drift.after.generation_mode) == ("m", "diffusion")
    assert drifts(before, after, steps_percent=D("50.1"), points=D(2)) == []
    assert drifts(before, after, steps_percent=D(10), points=D("30.1")) == []
    (better,) = drifts(after, before, steps_percent=D(10), points=D(2))
    # 0.06 to 0.04: a third less. 60 spent instead of 90.
    assert (round(better.steps_percent, 4), better.points_of_steps) == (D("-33.3333"), D(30))
