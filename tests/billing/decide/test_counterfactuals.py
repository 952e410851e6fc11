"""The same work done otherwise; every figure computed by hand."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from fleetmeter_billing.decide.costs import parse_costs
from fleetmeter_billing.decide.counterfactual import Material, compare_work, metered_again, read_work
from fleetmeter_billing.decide.priced_period import read_closed
from fleetmeter_billing.decide.scenarios import all_cloud, autoregressive, fewer_steps, local_share, matrix_gflop
from fleetmeter_billing.decide.traffic import Traffic
from fleetmeter_billing.errors import ComparisonError
from fleetmeter_billing.invoices.period_lines import PeriodUsage
from fleetmeter_billing.rates.store import load_card
from fleetmeter_doubles.counted_usage import CountedUsage
from fleetmeter_doubles.invoice_samples import card, segment
from fleetmeter_schemas.catalogue import ModelEntry, Shape

D = Decimal
TINY = ModelEntry(
    name="tiny",
    maker="m",
    generation_mode="autoregressive",
    parameters=10**9,
    shape=Shape(layers=10, heads=10, head_size=100),
    sources=("s",),
)


def row(sums: dict[str, int], account: str = "acme", **dimensions: str) -> Traffic:
    known = {"placement": "cloud", "route": "direct", "model": "m", "generation_mode": "diffusion"}
    return Traffic(account, 0, {"usage_fidelity": "measured", **known, **dimensions}, sums)


def priced(rows: list[Traffic], currency: str = "USD") -> Material:
    """One account that pays 5 dollars for 1,000 cloud queries, and nothing for those on devices."""
    published = card(
        {"queries": {"label": "Q", "meter": "cloud", "per": 1000, "model": {"type": "unit", "amount": "5"}}},
        currency,
        meters={"cloud": {"measure": "requests", "where": {"placement": "cloud"}}},
    )
    of = segment(currency=currency)
    assert of.segment is not None
    usage = metered_again(PeriodUsage((of,), {}), {0: published.card}, rows)
    return Material({("acme", 0): (published, of.segment)}, {"acme": usage}, tuple(rows), {"acme": currency})


ARTICLE_COSTS = parse_costs(
    """
costs: article
currency: USD
rules:
  - {name: devices, when: {placement: device}}
  - {name: cloud, amounts: [{measure: requests, amount: 0.005}]}
"""
)


def test_the_articles_example() -> None:
    """1,000,000 queries in the cloud at 0.005 dollars each: 1,000,000 x 0.005 = 5,000 dollars.

    With 90 % of them on devices 100,000 are left in the cloud: 100,000 x 0.005 = 500 dollars; 4,500 are saved, 90 %.
    """
    everything = row({"requests": 1_000_000})
    (one,) = compare_work(priced([everything]), lambda rows: local_share(rows, Fraction(90, 100)), ARTICLE_COSTS)
    assert (one.actual.requests, one.otherwise.requests) == (1_000_000, 1_000_000)
    assert (one.actual.bill, one.otherwise.bill) == (D(5_000), D(500))
    assert (one.actual.cost, one.otherwise.cost) == (D(5_000), D(500))


def test_the_articles_example_from_its_other_end() -> None:
    """The hybrid fleet as it is metered, 100,000 queries in the cloud and 900,000 on devices; all cloud costs 5,000."""
    hybrid = [
        row({"requests": 100_000, "output_tokens": 10_000_000}),
        row({"requests": 900_000}, placement="device", model="tiny"),
    ]
    (one,) = compare_work(priced(hybrid), all_cloud, ARTICLE_COSTS)
    assert (one.actual.bill, one.otherwise.bill) == (D(500), D(5_000))
    assert (one.actual.cost, one.otherwise.cost) == (D(500), D(5_000))
    # The same if devices only report that they answered 900,000 queries.
    (voluntary,) = compare_work(priced(hybrid[:1]), lambda rows: all_cloud(rows, {"acme": 900_000}), ARTICLE_COSTS)
    assert (voluntary.otherwise.bill, voluntary.otherwise.requests) == (D(5_000), 1_000_000)


def test_local_queries_in_the_cloud_keep_their_tokens_and_take_what_the_cloud_takes() -> None:
    """The cloud takes 20 steps and 400 ms for 1,000 tokens. 5,000 local tokens take 100 steps and 2,000 ms."""
    cloud = row({"requests": 10, "output_tokens": 1_000, "denoising_steps": 20, "gpu_ms": 400} | samples(10))
    local = row({"requests": 40, "output_tokens": 5_000, "input_tokens": 77}, placement="device", model="tiny")
    moved = all_cloud([cloud, local])[1]
    assert (moved.dimensions["placement"], moved.dimensions["model"]) == ("cloud", "m")
    assert {name: moved.sum(name) for name in ("requests", "input_tokens", "output_tokens")} == {
        "requests": 40,
        "input_tokens": 77,
        "output_tokens": 5_000,
    }
    assert (moved.sum("denoising_steps"), moved.sum("gpu_ms"), moved.sum("gpu_ms_samples")) == (100, 2_000, 40)
    with pytest.raises(ComparisonError, match="no cloud traffic"):
        all_cloud([local])


def samples(requests: int) -> dict[str, int]:
    return {"denoising_steps_samples": requests, "gpu_ms_samples": requests}


def test_fewer_steps_scale_the_work_and_not_the_tokens() -> None:
    """25 of 100: 801 / 4 = 200.25, 30,000 / 4 = 7,500. What came token by token has no steps, and stays."""
    parallel = row({"requests": 9, "output_tokens": 500, "denoising_steps": 801, "gpu_ms": 30_000} | samples(9))
    other = row({"requests": 1, "output_tokens": 50, "gpu_ms": 100}, generation_mode="autoregressive")
    few, same = fewer_steps([parallel, other], Fraction(25, 100))
    assert (few.sum("denoising_steps"), few.sum("gpu_ms"), few.sum("output_tokens")) == (200, 7_500, 500)
    assert few.sum("gpu_ms_samples") == 9
    assert same == other


def test_matrix_operations_token_by_token() -> None:
    """i = 100 tokens in, o = 11 out. Weights: 2 * 10^9 * (100 + 10) = 220 * 10^9. Attention: 4 * 10 * 10 * 100 =
    40,000 times (100^2 + 10 * 100 + 10 * 11 / 2 = 11,055) = 442,200,000 = 0.4422 * 10^9. Together 220.4422 * 10^9 for a
    request; 1,000 requests take 220,442.2 * 10^9."""
    assert matrix_gflop(TINY, 1_000, 100_000, 11_000) == 220_442
    assert matrix_gflop(TINY.model_copy(update={"shape": None}), 1, 1, 1) is None


def test_the_same_traffic_token_by_token() -> None:
    """The sequential traffic takes 3 ms a token, so 1,000 parallel tokens would take 3,000 ms, and 1,000 passes."""
    sequential = row(
        {"requests": 5, "output_tokens": 200, "gpu_ms": 600, "gpu_ms_samples": 5}, generation_mode="autoregressive"
    )
    parallel = row({"requests": 10, "output_tokens": 1_000, "denoising_steps": 80, "gpu_ms": 99} | samples(10))
    same, other = autoregressive([sequential, parallel], TINY)
    assert same == sequential
    assert (other.dimensions["generation_mode"], other.dimensions["model"]) == ("autoregressive", "tiny")
    assert (other.sum("denoising_steps"), other.sum("denoising_steps_samples")) == (0, 0)
    assert (other.sum("function_evaluations"), other.sum("gpu_ms"), other.sum("output_tokens")) == (1_000, 3_000, 1_000)
    # Without any traffic of that kind nobody knows how long it would take.
    (alone,) = autoregressive([parallel], TINY)
    assert (alone.sum("gpu_ms"), alone.sum("gpu_ms_samples")) == (0, 0)


@pytest.mark.clickhouse
def test_doing_as_it_was_done_is_what_was_billed(decided: CountedUsage) -> None:
    """Metering frozen traffic here must agree with what ClickHouse's meters say, to the cent."""
    closed = read_closed(decided.client, "2026-11")
    material = read_work(
        decided.client, closed, lambda name, version: load_card(decided.client, name, version), ARTICLE_COSTS
    )
    found = {one.actual.account: one for one in compare_work(material, list)}
    assert {name: (one.actual.bill, one.otherwise.bill) for name, one in found.items()} == {
        "acme": (D("160.00"), D("160.00")),
        "delta": (D("30.00"), D("30.00")),
        "gamma": (D("10.00"), D("10.00")),
    }
