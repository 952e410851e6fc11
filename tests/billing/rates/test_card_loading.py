"""What is wrong with a card is told with its line and its rule."""

from __future__ import annotations

from pathlib import Path

import pytest
from fleetmeter_billing.rates.loading import CardRefusedError, load_card, parse_card

GOOD = """\
card: fleet
currency: EUR
effective_from: 2026-11-01
meters:
  out:
    measure: output_tokens
    where: {generation_mode: diffusion}
    group_by: [model, steps_band]
  asked: {measure: requests, group_by: [steps_band]}
  value: {fact: outcome, sum: value_minor, where: {currency: EUR}}
prices:
  output:
    label: Output
    meter: out
    per: 1000
    model:
      type: graduated
      tiers:
        - {up_to: 100, amount: 0.25}
        - {amount: 0.2}
plans:
  pro: {prices: [output]}
"""


TWO_MORE = """{up_to: 50, amount: 0.2}
        - {amount: 1}"""


def problems(text: str) -> list[tuple[int, str, str]]:
    with pytest.raises(CardRefusedError) as refused:
        parse_card(text)
    return [(one.line, one.path, one.rule) for one in refused.value.problems]


def test_a_good_card_is_read_exactly() -> None:
    card = parse_card(GOOD)
    assert str(card.prices["output"].model.tiers[0].amount) == "0.25"  # type: ignore[union-attr]
    assert card.meters["out"].where == {"generation_mode": ("diffusion",)}
    assert (card.meters["out"].name, card.prices["output"].name, card.plans["pro"].name) == ("out", "output", "pro")


@pytest.mark.parametrize(
    ("old", "new", "line", "path", "rule"),
    [
        ("currency: EUR\ne", "currency: EUX\ne", 2, "currency", "unknown_currency"),
        ("2026-11-01", "2026-11-31", 3, "effective_from", "date_from_datetime_parsing"),
        ("measure: output_tokens", "measure: output_token", 6, "meters.out.measure", "unknown_measure"),
        ("mode: diffusion}", "mode: difusion}", 7, "meters.out.where.generation_mode[0]", "unknown_value"),
        ("{generation_mode:", "{labels:", 7, "meters.out.where.labels", "labels_never_priced"),
        ("[model, steps_band]", "[model, colour]", 8, "meters.out.group_by[1]", "unknown_dimension"),
        ("    group_by", "    distinct: user\n    group_by", 5, "meters.out", "one_source"),
        ("requests, group", "requests, group_bi: x, group", 9, "meters.asked.group_bi", "unknown_key"),
        ("sum: value_minor", "sum: value_major", 10, "meters.value.sum", "unknown_field"),
        ("    label: Output\n", "", 12, "prices.output", "required"),
        ("    meter: out\n", "    meter: outt\n", 14, "prices.output.meter", "unknown_meter"),
        ("per: 1000", "per: 1001", 15, "prices.output.per", "literal_error"),
        ("type: graduated", "type: gradual", 17, "prices.output.model.type", "union_tag_invalid"),
        ("up_to: 100", "up_to: 0", 19, "prices.output.model.tiers[0].up_to", "greater_than"),
        ("{amount: 0.2}", TWO_MORE, 20, "prices.output.model.tiers[1].up_to", "tiers_rise"),
        ("- {amount: 0.2}", "- {up_to: 500, amount: 0.2}", 20, "prices.output.model.tiers[1]", "last_tier_open"),
        ("0.2}", "-0.2}", 20, "prices.output.model.tiers[1].amount", "greater_than_equal"),
        ("0.2}", "0.12345678901234567890}", 20, "prices.output.model.tiers[1].amount", "decimal_max_digits"),
        ("0.2}", ".nan}", 20, "", "plain_number"),
        ("0.2}", "010}", 20, "", "plain_number"),
        ("    per: 1000", "    label: Twice", 15, "", "key_twice"),
        ("[output]", "[outputs]", 22, "plans.pro.prices[0]", "unknown_price"),
        ("plans:", "plans: [", 23, "", "yaml"),
    ],
)  # fmt: skip
def test_each_rule_names_its_line(old: str, new: str, line: int, path: str, rule: str) -> None:
    assert GOOD.count(old) >= 1
    assert problems(GOOD.replace(old, new, 1)) == [(line, path, rule)]


def price(text: str) -> str:
    return GOOD.replace("plans:\n", f"  more: {text}\nplans:\n")


UNIT = "model: {type: unit, amount: 1}"
NO_LEAP_YEAR = "[{since: 2026-11-01, credits: 1}, {since: 2027-02-29, credits: 2}]"
CAP = "cap: {by: steps_band, requests: asked, per_request: {20-30: 25}}"
HYBRID = f"model: {{type: hybrid, amount: 1, iterations: {{meter: asked, amount: 1, {CAP}}}}}"


@pytest.mark.parametrize(
    ("text", "path", "rule"),
    [
        (UNIT, "model", "meter_missing"),
        (f"meter: out, lines_by: [region], {UNIT}", "lines_by[0]", "not_grouped"),
        (
            f"meter: out, multipliers: [{{by: steps_band, values: {{lots: 2}}}}], {UNIT}",
            "multipliers[0].values",
            "unknown_value",
        ),
        (f"meter: out, minimum: 2, maximum: 1, {UNIT}", "minimum", "minimum_above_maximum"),
        ("meter: out, model: {type: percentage, percent: 1}", "meter", "value_meter"),
        ("meter: out, model: {type: outcome, amounts: {a: 1}}", "meter", "outcome_meter"),
        ("meter: out, model: {type: matrix_units, amount: 1, gflop_per_unit: 1}", "meter", "matrix_measure"),
        ("meter: out, model: {type: credits, rates: [{since: 2026-11-01, credits: 1}]}", "model", "credits_missing"),
        (
            f"meter: out, model: {{type: credits, rates: {NO_LEAP_YEAR}}}",
            "model.rates[1].since",
            "no_such_day",
        ),
        ("meter: out, model: {type: seat}", "model", "one_amount"),
        ("included: 5, model: {type: flat, amount: 1}", "included", "not_for_model"),
        ("meter: out, per: 1000, model: {type: package, size: 5, amount: 1}", "per", "not_for_model"),
        ("meter: out, lines_by: [model], model: {type: seat, amount: 1}", "lines_by", "not_for_model"),
        (
            f"meter: out, rules: [{{name: minimum, when: {{model: x}}, {UNIT}}}], {UNIT}",
            "rules[0].name",
            "reserved_name",
        ),
        (f"meter: out, {HYBRID}", "model.iterations.cap.per_request.20-30", "cap_inside_band"),
        (
            f"meter: out, rules: [{{name: a, when: {{region: x}}, {UNIT}}}], {UNIT}",
            "rules[0].when.region",
            "not_grouped",
        ),
    ],
)
def test_rules_of_prices(text: str, path: str, rule: str) -> None:
    found = problems(price(f"{{label: M, {text}}}"))
    assert found == [(21, f"prices.more.{path}", rule)]


def test_values_in_another_currency_cannot_be_summed() -> None:
    text = price("{label: M, meter: value, model: {type: percentage, percent: 1}}").replace(
        "currency: EUR}", "currency: USD}"
    )
    assert problems(text) == [(21, "prices.more.meter", "value_currency")]


def test_a_plan_cannot_include_what_has_no_allowance() -> None:
    text = price("{label: M, model: {type: flat, amount: 1}}").replace("{prices: [output]}", "{included: {more: 1}}")
    assert problems(text) == [(23, "plans.pro.included.more", "not_for_model")]


def test_all_problems_come_at_once() -> None:
    text = GOOD.replace("output_tokens", "nothing").replace("0.25", "-1").replace("    label: Output\n", "")
    assert [line for line, _, _ in problems(text)] == [6, 12, 18]


def test_what_yaml_would_make_of_text_stays_text() -> None:
    text = GOOD.replace("where: {generation_mode: diffusion}", "where: {model: NO, region: on, project_id: 2026-11-01}")
    where = parse_card(text).meters["out"].where
    assert where == {"model": ("NO",), "region": ("on",), "project_id": ("2026-11-01",)}


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "card.yaml"
    path.write_bytes(b"card: \xff")
    with pytest.raises(CardRefusedError, match="not UTF-8"):
        load_card(path)
    with pytest.raises(CardRefusedError, match="a card is a mapping"):
        parse_card("- card")


def test_many_aliases_of_aliases_are_refused() -> None:
    levels = ["a: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert problems("\n".join(levels))[0][2] == "too_large"


def test_what_holds_itself_or_goes_too_deep_is_refused() -> None:
    assert problems("card: &a [*a]")[0][2] == "too_deep"
    assert problems("[" * 1500)[0][2] == "too_deep"
    assert problems("{a: " * 40 + "1" + "}" * 40)[0][2] == "too_deep"
