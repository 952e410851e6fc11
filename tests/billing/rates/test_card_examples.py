"""The examples are valid, by our rules and by the JSON Schema, and price what the simulated fleet does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import jsonschema
import pytest
import yaml
from fleetmeter_billing.examples import example_names, example_text
from fleetmeter_billing.rates.card import PublishedCard
from fleetmeter_billing.rates.loading import parse_card
from fleetmeter_billing.rates.rating import rate_segment
from fleetmeter_billing.rates.schema import card_schema
from fleetmeter_doubles.spelled_cards import Used, metered, segment_of
from fleetmeter_schemas import load_catalogue


def published(name: str) -> PublishedCard:
    card = parse_card(example_text(name))
    return PublishedCard(
        card=card,
        version=1,
        published_at=datetime(2026, 1, 1, tzinfo=UTC),
        published_by="test",
        content_hash=card.content_hash,
    )


def bill(name: str, used: Used, **given: Any) -> list[tuple[str, str]]:
    card = published(name)
    lines = rate_segment(card, segment_of(card, **given), metered(used))
    return [(line.label, str(line.amount)) for line in lines]


def one(meter: str, quantity: int, **group: str) -> tuple[str, Mapping[str, str], int]:
    return meter, group, quantity


@pytest.mark.parametrize("name", example_names())
def test_an_example_is_valid_and_named_after_itself(name: str) -> None:
    card = parse_card(example_text(name))
    assert card.card == name
    assert card.description.endswith(".")
    # JSON has no dates; editors read them as text, too.
    data = yaml.load(example_text(name), Loader=yaml.BaseLoader)  # noqa: S506  (text only)
    jsonschema.Draft202012Validator(card_schema()).validate(_numbers(data))


def _numbers(data: Any) -> Any:
    """Text that is a number, as the number that an editor sees."""
    if isinstance(data, dict):
        return {key: _numbers(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_numbers(value) for value in data]
    try:
        return int(data.replace("_", ""))
    except ValueError:
        return data


@pytest.mark.parametrize("name", example_names())
def test_an_example_names_models_that_there_are(name: str) -> None:
    card = parse_card(example_text(name))
    named = {model for meter in card.meters.values() for model in meter.where.get("model", ())}
    named |= {
        m for plan in card.plans.values() for m in (*plan.entitlements.models, *plan.entitlements.fallback_models)
    }
    assert [model for model in named if load_catalogue().find(model) is None] == []


def test_the_schema_refuses_what_is_not_known() -> None:
    data = {"card": "x", "currency": "EUR", "effective_from": "2026-01-01", "meters": {"m": {"measure": "tokenz"}}}
    data["prices"] = {"p": {"label": "P", "meter": "m", "modell": {}}}
    errors = {error.json_path for error in jsonschema.Draft202012Validator(card_schema()).iter_errors(data)}
    assert "$.meters.m.measure" in errors
    assert "$.prices.p" in errors


def test_mercury_tokens() -> None:
    used = [
        one("input_tokens", 8_000_000),
        one("cached_tokens", 2_000_000),
        one("output_tokens", 3_000_000, model="mercury-coder-mini"),
        one("output_tokens", 1_000_000, model="mercury-coder-small"),
    ]
    # 8 x 0.25; 2 x 0.025; (3 + 1.5 - 0.1) x 1.00
    assert bill("mercury_tokens", used) == [
        ("Input tokens", "2.00"),
        ("Cached input tokens", "0.05"),
        ("Output tokens", "4.40"),
    ]


def test_hybrid() -> None:
    used = [
        one("output_tokens", 10_000_000),
        one("iterations", 100_000, steps_band="10-20"),
        one("requests", 8_000, steps_band="10-20"),
        one("iterations", 90_000, steps_band="50-100"),
        one("requests", 1_000, steps_band="50-100"),
        one("sequential_tokens", 5_000_000),
    ]
    # 10 x 0.40; (100,000 + 1,000 x 50) x 0.05 / 1000 = 7.50; 5 x 1.20
    assert bill("hybrid", used) == [
        ("Parallel generation, tokens", "4.00"),
        ("Parallel generation, iterations", "7.50"),
        ("Sequential generation, tokens", "6.00"),
    ]


def test_matrix_operations() -> None:
    used = [
        one("operations", 5_000_000_000, generation_mode="autoregressive"),
        one("operations", 1_400_000_000, generation_mode="diffusion"),
    ]
    # 5,000 units less 1,000 included x 0.75 / 1000 = 3.00; 1,400 x 0.75 / 1000 = 1.05
    assert bill("matrix_operations", used) == [
        ("Compute: generation_mode autoregressive", "3.00"),
        ("Compute: generation_mode diffusion", "1.05"),
    ]


def test_model_tiers() -> None:
    seats = one("seats", 60)
    assert bill("model_tiers", [seats], plan="basic") == [("Basic seats (models up to 1B)", "240.00")]
    # all 60 at 10; 7 hours in packages of 5: 2 x 90
    assert bill("model_tiers", [seats, one("premium_units", 7)], plan="professional") == [
        ("Professional seats (models up to 7B)", "600.00"),
        ("Priority support", "180.00"),
    ]
    # 50 x 25, 10 beyond x 30; (50 - 10) x 3
    used = [seats, one("training_tokens", 50_000_000)]
    assert bill("model_tiers", used, plan="enterprise", committed={"seats": 50}) == [
        ("Enterprise seats (models up to 14B, fine-tuning)", "1250.00"),
        ("Enterprise seats (models up to 14B, fine-tuning): beyond the commitment", "300.00"),
        ("Fine-tuning", "120.00"),
    ]


def test_cloud_fallback() -> None:
    used = [
        one("fallback_output", 1_000_000, generation_mode="autoregressive"),
        one("fallback_output", 4_000_000, generation_mode="diffusion"),
        one("fallback_input", 10_000_000, context_band="0-32k"),
        one("fallback_input", 1_000_000, context_band="128k-200k"),
    ]
    # (1 + 4 x 0.4 - 0.1) x 2.50 = 6.25; 10 x 0.60; 1 x 1.20
    assert bill("cloud_fallback", used, plan="starter") == [
        ("Local models", "49.00"),
        ("Cloud fallback, output tokens", "6.25"),
        ("Cloud fallback, input tokens", "6.00"),
        ("Cloud fallback, input tokens of requests above 128k", "1.20"),
    ]


def test_device_capacity() -> None:
    assert bill("device_capacity", [one("devices", 101)], committed={"devices": 100}) == [("Device licence", "4000.00")]


def test_outcomes() -> None:
    used = [
        one("outcomes", 7, name="document_drafted"),
        one("outcomes", 20, name="ticket_resolved"),
        one("lead_value", 150_000),
    ]
    # 5 of the 7 included: 2 x 2.50; 20 x 0.99; the minimum is met; 1000 x 10 % + 500 x 6 %
    assert bill("outcomes", used) == [
        ("Outcomes: document_drafted", "5.00"),
        ("Outcomes: ticket_resolved", "19.80"),
        ("Share of the value of qualified leads", "130.00"),
    ]


def test_credits() -> None:
    used = [
        one("output_tokens", 10_000_000, generation_mode="diffusion"),
        one("output_tokens", 1_000_000, generation_mode="autoregressive"),
        one("downloads", 3, model="llama-3.2-1b"),
        one("downloads", 1, model="mistral-7b"),
    ]
    # 10,000 x 0.08 + 1,000 x 0.2 - 50 = 950 credits x 0.01; (3 x 10 + 25) x 0.01
    assert bill("credits", used) == [("Output tokens", "9.50"), ("Model downloads", "0.55")]


def test_own_model() -> None:
    used = [one("own_requests", 51_000), one("own_tokens", 30_000_000), one("bought", 4_000_000_000)]
    # 1000 free, 50,000 x 0.002; 30 x 0.05; 4 USD x 1.15
    assert bill("own_model", used) == [
        ("Platform fee", "199.00"),
        ("Requests to your own model", "100.00"),
        ("Tokens of your own model", "1.50"),
        ("Usage bought for you, at cost plus 15 %", "4.60"),
    ]


def test_one_price() -> None:
    # 90,000 + 70 x 300 = 111,000 - 1,000 = 110,000: 100,000 x 1.50 / 1000 + 10,000 x 1.10 / 1000
    assert bill("one_price", [one("requests", 90_000), one("devices", 70)]) == [
        ("Queries, wherever they ran", "161.00")
    ]
