"""Whatever the card and the traffic: shares sum to the bill, and nobody is charged for what a line does not count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal, localcontext
from typing import Any

from fleetmeter_billing.decide.attribution import share_out
from fleetmeter_billing.decide.counterfactual import metered_again
from fleetmeter_billing.decide.traffic import Traffic
from fleetmeter_billing.invoices.period_lines import PeriodUsage, rate_period
from fleetmeter_billing.rates.money import CONTEXT
from fleetmeter_billing.rates.usage import Discount
from fleetmeter_doubles.invoice_samples import card, cards, segment
from hypothesis import given, settings
from hypothesis import strategies as st

MODES = ("autoregressive", "diffusion", "hybrid")
METERS: dict[str, Any] = {
    "tokens": {"measure": "output_tokens", "group_by": ["generation_mode"]},
    "parallel": {"measure": "output_tokens", "where": {"generation_mode": ["diffusion", "hybrid"]}},
    "steps": {"measure": "denoising_steps"},
}
TIERS = [{"up_to": 1_000, "amount": "0.013", "flat": "2"}, {"amount": "0.007"}]
MODELS: dict[str, dict[str, Any]] = {
    "unit": {"meter": "tokens", "model": {"type": "unit", "amount": "0.0137"}},
    "weighed": {
        "meter": "tokens",
        "model": {"type": "graduated", "tiers": TIERS},
        "multipliers": [{"by": "generation_mode", "values": {"diffusion": "0.4"}}],
    },
    "ruled": {
        "meter": "tokens",
        "model": {"type": "volume", "tiers": TIERS},
        "rules": [{"name": "r", "when": {"generation_mode": "hybrid"}, "model": {"type": "unit", "amount": "0.02"}}],
    },
    "apart": {
        "meter": "tokens",
        "model": {"type": "package", "amount": "1", "size": "700"},
        "lines_by": ["generation_mode"],
    },
    "hybrid": {
        "meter": "parallel",
        "model": {"type": "hybrid", "amount": "0.01", "iterations": {"meter": "steps", "amount": "0.3"}},
        "included": "500",
    },
    "bundle": {
        "model": {
            "type": "bundle",
            "parts": [{"meter": "parallel", "weight": "0.5"}, {"meter": "steps"}],
            "tiers": [{"amount": "0.011"}],
        }
    },
    "fee": {"model": {"type": "flat", "amount": "9.99"}},
}

quantities = st.integers(0, 5_000)
rows = st.lists(
    st.builds(
        lambda mode, tokens, steps, fidelity: Traffic(
            "acme",
            0,
            {"usage_fidelity": fidelity, "model": "m", "generation_mode": mode},
            {"output_tokens": tokens, "denoising_steps": 0 if mode == "autoregressive" else steps},
        ),
        st.sampled_from(MODES),
        quantities,
        quantities,
        st.sampled_from(("measured", "estimated")),
    ),
    max_size=6,
)
modifiers = st.fixed_dictionaries(
    {},
    optional={"minimum": st.sampled_from(("1", "40")), "maximum": st.sampled_from(("50", "60"))},
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(MODELS)), modifiers), min_size=1, max_size=4), rows, st.booleans())
def test_shares_sum_to_the_bill(
    prices: Sequence[tuple[str, dict[str, str]]], traffic: list[Traffic], off: bool
) -> None:
    published = card(
        {f"p{n}": {"label": "P", **MODELS[name], **more} for n, (name, more) in enumerate(prices)}, meters=METERS
    )
    frozen = segment()
    assert frozen.segment is not None
    discounts = (Discount("d", "Discount", percent=Decimal(33)),) if off else ()
    frozen = replace(frozen, segment=replace(frozen.segment, discounts=discounts))
    usage = metered_again(PeriodUsage((frozen,), {}), {0: published.card}, traffic)
    lines = rate_period(usage, cards(published))
    shares = share_out(lines, {0: published.card}, traffic)
    with localcontext(CONTEXT):
        billed = sum((line.rated.amount for line in lines), Decimal(0))
        assert abs(sum(shares.values(), Decimal(0)) - billed) < Decimal("1e-45")
    for place, amount in shares.items():
        if place is not None and amount:
            # Estimates are not counted by these meters, so nothing is billed because of them.
            assert traffic[place].dimensions["usage_fidelity"] == "measured"
