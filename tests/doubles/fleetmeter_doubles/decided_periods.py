"""Two closed periods of three accounts, for tests of what is decided by them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from clickhouse_connect.driver.client import Client
from fleetmeter_billing.accounts.published import cards_of
from fleetmeter_billing.periods.close import CloseRules, close_period
from fleetmeter_billing.rates.loading import parse_card
from fleetmeter_billing.rates.store import Publisher, publish, published_cards

from fleetmeter_doubles.counted_usage import CountedUsage, apply_yaml

CARD: Final = """
card: fleet
currency: EUR
effective_from: 2026-01-01
meters:
  tokens: {measure: output_tokens, group_by: [generation_mode]}
prices:
  fee: {label: Platform fee, model: {type: flat, amount: 10}}
  tokens: {label: Output tokens, meter: tokens, unit: tokens, per: 1000, model: {type: unit, amount: 2}}
  trial_tokens: {label: Output tokens, meter: tokens, unit: tokens, per: 1000, model: {type: unit, amount: 1}}
plans:
  team: {prices: [fee, tokens]}
  cheap: {prices: [fee, trial_tokens]}
experiments:
  cheaper: {salt: autumn, on: team, arms: {control: {weight: 1, plan: team}, half: {weight: 1, plan: cheap}}}
"""
ACCOUNTS: Final = """
accounts:
  - {account: acme, currency: EUR, subscription: [{from: 2026-01-01, card: fleet, plan: team}]}
  - {account: delta, currency: EUR, subscription: [{from: 2026-01-01, card: fleet, plan: team}]}
  - {account: gamma, currency: EUR, subscription: [{from: 2026-01-01, card: fleet, plan: cheap}]}
"""


def two_closed_periods(client: Client) -> CountedUsage:
    """October and November 2026, closed.

    acme: diffusion 100,000 tokens and 4,000 steps in October, 6,000 in November; autoregressive 50,000 tokens in both.
    delta: diffusion 10,000 tokens with 1,000 steps in November. gamma: nothing but two jobs in November, one of which
    reports 40 s of accelerator time.
    """
    counted = CountedUsage(client)
    publish(client, parse_card(CARD), Publisher("test", at=datetime(2026, 1, 1, tzinfo=UTC)), source=CARD)
    apply_yaml(client, ACCOUNTS)
    for month, steps in (("10", 4_000), ("11", 6_000)):
        parallel = {"generation_mode": "diffusion", "output_tokens": 100_000, "requests": 200}
        counted.usage(
            "acme", f"2026-{month}-05 12:00:00", **parallel, **_reported(denoising_steps=steps, gpu_ms=steps * 30)
        )
        counted.usage(
            "acme",
            f"2026-{month}-06 12:00:00",
            generation_mode="autoregressive",
            model="ar",
            output_tokens=50_000,
            requests=100,
            **_reported(100, gpu_ms=500_000),
        )
    counted.usage(
        "delta",
        "2026-11-07 12:00:00",
        generation_mode="diffusion",
        output_tokens=10_000,
        requests=20,
        **_reported(20, denoising_steps=1_000),
    )
    for number, account in enumerate(("acme", "delta")):
        counted.fact(account, "2026-11-08 10:00:00", f"o{number}", **_outcome(5 - number))
    for name, reported in (("j1", {"gpu_ms": 40_000}), ("j2", {})):
        job = {"event_type": "job", "kind": "fine_tuning", "base_model": "m", "status": "ok", **reported}
        counted.fact("gamma", "2026-11-09 10:00:00", name, **job)
    counted.marker("2026-12-05 00:00:00")
    cards = cards_of(published_cards(client))
    for period in ("2026-10", "2026-11"):
        close_period(client, period, lambda: cards, CloseRules(lateness_s=3600, by="test"))
    return counted


def _reported(requests: int = 200, **sums: int) -> dict[str, Any]:
    return {**sums, **{f"{name}_samples": requests for name in sums}}


def _outcome(quantity: int) -> dict[str, Any]:
    return {"event_type": "outcome", "name": "ticket_resolved", "quantity": quantity, "user": "u"}
