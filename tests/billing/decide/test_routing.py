"""Advice about kinds of queries that often fall back."""

from __future__ import annotations

from decimal import Decimal

import pytest
from fleetmeter_billing.decide.routing import Attempts, recommend, wilson


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    # Intervals as Newcombe (1998, table I, method 3) prints them.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval_is_as_published(hits: int, trials: int, low: float, high: float) -> None:
    assert wilson(hits, trials) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_only_what_leaves_no_doubt_is_sent_to_the_cloud() -> None:
    found = recommend(
        [
            Attempts("small", "simple", fallbacks=50, local_answers=950, wasted_active_ms=10_000),
            Attempts("small", "complex", fallbacks=800, local_answers=200, wasted_active_ms=9_000_000),
            # 6 of 10 is above one half, and might as well be 3 of 10.
            Attempts("small", "code", fallbacks=6, local_answers=4, wasted_active_ms=50),
            Attempts("small", "legal", fallbacks=70, local_answers=0, wasted_active_ms=70),
        ],
        cloud_query_cost=Decimal("0.005"),
    )
    assert [(one.attempts.query_class, one.advice) for one in found] == [
        ("complex", "route to the cloud"),
        ("code", "too few to tell"),
        ("legal", "local answers not metered"),
        ("simple", "keep on devices"),
    ]
    # 200 more cloud queries at 0.005 cost 1; saved are 9,000 s of devices' time.
    assert (found[0].rate, found[0].more_cloud_queries, found[0].more_cost) == (0.8, 200, Decimal("1.000"))
    assert found[2].rate is None


def test_the_limit_is_the_operators() -> None:
    half = [Attempts("small", "x", fallbacks=300, local_answers=700)]
    assert recommend(half)[0].advice == "keep on devices"
    assert recommend(half, limit=0.2)[0].advice == "route to the cloud"
    assert recommend(half, limit=0.3)[0].advice == "too few to tell"
