"""Arms of experiments: stable for ever, and as large as their weights say."""

from __future__ import annotations

import hashlib
from fractions import Fraction

import pytest
from fleetmeter_billing.rates.card import RateCard
from fleetmeter_billing.rates.cohorts import arm_at, arm_of, plan_in, position_of
from fleetmeter_billing.rates.loading import parse_card
from fleetmeter_billing.rates.plan import Experiment
from hypothesis import given
from hypothesis import strategies as st

WHOLE = 2**128


def experiment(salt: str = "autumn", on: str = "team", **weights: int) -> Experiment:
    arms = {name: {"weight": weight, "plan": f"plan_{name}"} for name, weight in weights.items()}
    return Experiment.model_validate({"salt": salt, "on": on, "arms": arms})


def test_the_hash_is_what_it_always_was() -> None:
    """Golden: bills depend on these. The bytes that are hashed are written out."""
    spelled = b"\x00" * 7 + b"\x06autumn" + b"\x00" * 7 + b"\x04acme"
    assert position_of("autumn", "acme") == int(hashlib.blake2b(spelled, digest_size=16).hexdigest(), 16)
    assert f"{position_of('autumn', 'acme'):032x}" == "eda21173a004ed84f8b20d62aad048d8"
    assert f"{position_of('sälz', '客户-1'):032x}" == "8eadd147abfe75182d3de43a03fd2d02"
    halves = experiment(control=1, half=1)
    assert {name: arm_of(halves, name) for name in ("acme", "beta", "gamma", "delta")} == {
        "acme": "half",
        "beta": "half",
        "gamma": "control",
        "delta": "control",
    }


def test_salt_and_account_can_not_be_shifted_into_each_other() -> None:
    assert position_of("ab", "c") != position_of("a", "bc")


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 1000), min_size=2))
def test_each_arm_has_exactly_its_share_of_the_range(weights: dict[str, int]) -> None:
    """An arm's positions are [first, after): both ends are looked at, and the length is the share to 1 in 2^128."""
    of = experiment(**weights)
    total, first = sum(weights.values()), 0
    for name in sorted(weights):
        after = -(-WHOLE * sum(weights[one] for one in sorted(weights) if one <= name) // total)
        assert arm_at(of, first) == name
        assert arm_at(of, after - 1) == name
        assert abs(Fraction(after - first, WHOLE) - Fraction(weights[name], total)) < Fraction(1, WHOLE)
        first = after
    assert first == WHOLE
    with pytest.raises(ValueError, match="not below"):
        arm_at(of, WHOLE)


def test_accounts_spread_over_arms_as_the_weights_say() -> None:
    """10,000 accounts at 1 : 3. A binomial's standard deviation is sqrt(10000 / 4 * 3/4) = 43; five are 217."""
    of = experiment(small=1, large=3)
    small = sum(arm_of(of, f"account-{number}") == "small" for number in range(10_000))
    assert abs(small - 2_500) < 217


def test_the_order_of_arms_in_the_card_moves_nobody() -> None:
    one, other = experiment(a=2, b=3, c=5), experiment(c=5, a=2, b=3)
    assert all(arm_of(one, str(number)) == arm_of(other, str(number)) for number in range(200))


def test_an_account_of_the_plan_gets_the_plan_of_its_arm() -> None:
    both = [experiment(control=1, half=1), experiment(on="plan_half", x=1, y=1)]
    arm = arm_of(both[0], "acme")
    # The arm's plan is final, though an experiment is on one of them.
    assert plan_in(both, "team", "acme") == f"plan_{arm}"
    assert plan_in(both, "basic", "acme") == "basic"


def test_a_plan_is_in_one_experiment() -> None:
    text = """
card: fleet
currency: EUR
effective_from: 2026-01-01
meters: {m: {measure: requests}}
prices: {p: {label: P, meter: m, model: {type: unit, amount: 1}}}
plans: {a: {}, b: {}}
experiments:
  one: {salt: x, on: a, arms: {c: {weight: 1, plan: a}, t: {weight: 1, plan: b}}}
  two: {salt: y, on: a, arms: {c: {weight: 1, plan: a}, t: {weight: 1, plan: b}}}
"""
    assert isinstance(parse_card(text.replace("two: {salt: y, on: a", "two: {salt: y, on: b")), RateCard)
    with pytest.raises(Exception, match=r"line 10: experiments.two.on: .*one is on plan a already"):
        parse_card(text)
