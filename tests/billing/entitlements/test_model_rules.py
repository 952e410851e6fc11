"""Which models a plan lets onto devices and into the cloud."""

from __future__ import annotations

import pytest
from fleetmeter_billing.entitlements.model_rules import ModelRules
from fleetmeter_billing.rates.plan import Entitlements
from fleetmeter_schemas.catalogue import Catalogue, ModelEntry

CATALOGUE = Catalogue(
    version="test",
    models=(
        ModelEntry(
            name="tiny", aliases=("t-1",), maker="m", generation_mode="autoregressive", parameters=10**9, sources=("s",)
        ),
        ModelEntry(name="seven", maker="m", generation_mode="diffusion", parameters=7 * 10**9, sources=("s",)),
        ModelEntry(name="fourteen", maker="m", generation_mode="diffusion", parameters=14 * 10**9, sources=("s",)),
        ModelEntry(name="secret", maker="m", generation_mode="diffusion", sources=("s",)),
    ),
)
BASIC = Entitlements(model_tiers=("1b",), models=("fourteen", "own/*"), fallback_models=("big",), features=("support",))


def rules(entitlements: Entitlements = BASIC, **derived: str) -> ModelRules:
    return ModelRules(entitlements, CATALOGUE, derived)


@pytest.mark.parametrize("model", ["tiny", "t-1", "fourteen", "own/model-a"])
def test_a_model_of_the_plans_tiers_or_names_may_be_downloaded(model: str) -> None:
    assert rules().refuses_download(model) is None


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("seven", "seven is of size tier 7b; the plan has 1b, and does not name the model"),
        # The maker has not published its size.
        ("secret", "secret is of size tier frontier; the plan has 1b, and does not name the model"),
        ("unheard", "unheard is not in the model catalogue, and the plan does not name it"),
    ],
)
def test_any_other_model_is_refused_with_the_reason(model: str, why: str) -> None:
    assert rules().refuses_download(model) == why


def test_a_model_that_the_customer_made_counts_as_its_base() -> None:
    own = rules(mine="tiny", mine2="mine", theirs="seven", loop="pool", pool="loop")
    assert own.refuses_download("mine") is None
    assert own.refuses_download("mine2") is None
    assert own.refuses_download("theirs") == "theirs is of size tier 7b; the plan has 1b, and does not name the model"
    assert own.refuses_download("loop") is not None


def test_fallbacks_and_features_are_those_that_the_plan_names() -> None:
    assert rules().refuses_fallback("big") is None
    assert rules().refuses_fallback("tiny") == "queries fell back to tiny; the plan's cloud fallbacks: big"
    assert rules().refuses_feature("support") is None
    assert rules().refuses_feature("fine_tuning") == "fine_tuning is not among the plan's features: support"


def test_a_plan_that_says_nothing_withholds_nothing() -> None:
    silent = rules(Entitlements())
    assert silent.refuses_download("seven") is None
    assert silent.refuses_fallback("big") is None
    assert silent.refuses_feature("fine_tuning") is None
    assert silent.downloadable() == []


def test_a_plan_that_says_something_allows_only_what_it_names() -> None:
    only_seats = rules(Entitlements(seats=5))
    assert only_seats.refuses_download("tiny") == (
        "tiny is of size tier 1b; the plan has no size tier, and does not name the model"
    )


def test_the_models_of_the_catalogue_that_may_be_downloaded_are_listed() -> None:
    assert rules().downloadable() == ["fourteen", "tiny"]
