"""Facts held against the plan of their time, and counts against limits."""

from __future__ import annotations

from datetime import UTC, datetime

from fleetmeter_billing.entitlements.model_rules import ModelRules
from fleetmeter_billing.entitlements.terms import EntitledPart
from fleetmeter_billing.entitlements.violations import (
    FellBack,
    Happened,
    Heads,
    Standing,
    standings,
    violations_of_counts,
    violations_of_facts,
    violations_of_fallbacks,
)
from fleetmeter_billing.rates.plan import Entitlements
from fleetmeter_schemas.catalogue import load_catalogue


def at(day: int, hour: int = 0) -> datetime:
    return datetime(2026, 11, day, hour, tzinfo=UTC)


BASIC = Entitlements(model_tiers=("1b",), fallback_models=("big",), seats=3, downloads=10)
PRO = Entitlements(model_tiers=("1b", "7b"), fallback_models=("big",), features=("fine_tuning",), seats=5, downloads=10)
PARTS = (
    EntitledPart("acme", at(1), at(10), "fleet", 1, "basic", "active", BASIC, {"seats": 2}),
    EntitledPart("acme", at(10), at(20), "fleet", 1, "pro", "active", PRO, {"seats": 4}),
    EntitledPart("acme", at(20), at(30)),
)


def rules_of(part: EntitledPart) -> ModelRules:
    return ModelRules(part.entitlements, load_catalogue())


def download(model: str, when: datetime, event_id: str, kind: str = "download") -> Happened:
    return Happened("acme", kind, model, when, "urn:d", event_id)  # type: ignore[arg-type]


def test_each_event_is_held_against_the_plan_of_its_time() -> None:
    facts = [
        download("llama-3.2-1b", at(2), "a"),
        download("mistral-7b", at(2), "b"),
        download("mistral-7b", at(9, 23), "c", "deploy"),
        download("mistral-7b", at(10), "d"),
        download("llama-3.2-1b", at(21), "e"),
        download("mistral-7b", at(30), "f"),
        Happened("other", "download", "mistral-7b", at(2), "urn:d", "g"),
        Happened("acme", "job", "fine_tuning", at(3), "urn:d", "h"),
        Happened("acme", "job", "fine_tuning", at(12), "urn:d", "i"),
    ]
    found = list(violations_of_facts({"acme": PARTS}, facts, rules_of))
    assert [(one.event_id, one.rule, one.plan, one.first) for one in found] == [
        ("b", "model_not_included", "basic", at(2)),
        ("c", "model_not_included", "basic", at(9, 23)),
        ("e", "no_subscription", None, at(21)),
        ("h", "feature_not_included", "basic", at(3)),
    ]
    assert found[1].sentence == ("deploy: mistral-7b is of size tier 7b; the plan has 1b, and does not name the model")


def test_fallbacks_are_summed_by_part_and_model() -> None:
    fallbacks = [
        FellBack("acme", "big", at(2), 7),
        FellBack("acme", "huge", at(3), 2),
        FellBack("acme", "huge", at(2), 5),
        FellBack("acme", "huge", at(12), 1),
        FellBack("acme", "huge", at(25), 9),
    ]
    found = violations_of_fallbacks({"acme": PARTS}, fallbacks, rules_of)
    assert [(one.plan, one.what, one.quantity, one.first, one.last) for one in found] == [
        ("basic", "huge", 7, at(2), at(3)),
        ("pro", "huge", 1, at(12), at(12)),
    ]


def test_counts_stand_beside_the_most_that_a_part_of_the_period_allows() -> None:
    heads = Heads("acme", seats=5, devices=9, downloads=11)
    assert standings(PARTS, heads) == [
        Standing("seats", 5, 4, 5),
        Standing("devices", 9, None, None),
        Standing("downloads", 11, None, 10),
    ]
    assert [one.state for one in standings(PARTS, heads)] == ["over_committed", "within", "over_limit"]
    assert [(one.rule, one.quantity, one.sentence) for one in violations_of_counts(PARTS, heads)] == [
        ("downloads_exceeded", 11, "11 downloads in the period; the plan has 10"),
    ]
    (over,) = violations_of_counts(PARTS, Heads("acme", seats=6))
    assert (over.rule, over.quantity) == ("seats_exceeded", 6)


def test_no_limit_in_one_part_is_no_limit_of_the_period() -> None:
    free = EntitledPart("acme", at(20), at(30), "fleet", 1, "team", "active", Entitlements(model_tiers=("1b",)))
    assert [one.limit for one in standings((PARTS[0], free), Heads("acme"))] == [None, None, None]
