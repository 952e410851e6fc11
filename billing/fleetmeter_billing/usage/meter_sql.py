"""Meters as SQL over frozen rows: exact integers, summed by ClickHouse for all accounts of a card version at once."""

# ruff: noqa: S608  (columns come from the contract, which meters are checked against; every value is bound)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from fleetmeter_billing.accounts.selection import BY_ACCOUNT
from fleetmeter_billing.rates.meter import Meter

ROWS: Final = (
    "has({closed:Array(String)}, close_id) AND usage_period = {usage_period:String} "
    "AND (account_id, segment) IN (SELECT account_id, segment FROM billing_frozen_segments "
    "WHERE has({closed:Array(String)}, close_id) AND usage_period = {usage_period:String} "
    f"AND card = {{card:String}} AND version = {{version:UInt32}} AND {BY_ACCOUNT})"
)
"""Frozen rows that count, of one period, in parts of it that one card version prices; of all accounts, or of some."""


@dataclass(slots=True)
class MeterStatement:
    """One SELECT: `account_id, segment, <dimensions...>, <a quantity a meter...>`, and what to bind besides ROWS'."""

    meters: tuple[Meter, ...]
    dimensions: tuple[str, ...]
    text: str
    parameters: dict[str, list[str]] = field(default_factory=dict)


def meter_statements(meters: Sequence[Meter]) -> list[MeterStatement]:
    """What to ask for the quantities of `meters`: one pass over usage for all that sum measures, one over subjects for
    all that count those, one over facts for each that looks at facts (what is distinct in a group can't be added)."""
    sums = [one for one in meters if one.measure is not None]
    subjects = [one for one in meters if one.distinct is not None]
    statements = [_measures(sums)] if sums else []
    statements += [_subjects(subjects)] if subjects else []
    statements += [_outcomes(one) if one.fact == "outcome" else _facts(one) for one in meters if one.fact is not None]
    return statements


def _measures(meters: Sequence[Meter]) -> MeterStatement:
    dimensions = tuple(dict.fromkeys(name for meter in meters for name in meter.group_by))
    parameters: dict[str, list[str]] = {}
    sums = []
    for number, meter in enumerate(meters):
        amount = " ".join(
            (meter.measure or "", *(f"+ {one}" for one in meter.plus), *(f"- {one}" for one in meter.minus))
        )
        sums.append(f"sumIf({amount}, {_condition(meter, str(number), parameters)}) AS quantity_{number}")
    some = " OR ".join(f"quantity_{number} != 0" for number in range(len(meters)))
    groups = ", ".join(("account_id", "segment", *dimensions))
    return MeterStatement(
        tuple(meters),
        dimensions,
        f"SELECT {groups}, {', '.join(sums)} FROM billing_frozen_usage WHERE {ROWS} GROUP BY {groups} HAVING {some}",
        parameters,
    )


def _subjects(meters: Sequence[Meter]) -> MeterStatement:
    counts = [f"uniqExactIf(subject, subject_kind = '{meter.distinct}') AS q{n}" for n, meter in enumerate(meters)]
    return MeterStatement(
        tuple(meters),
        (),
        f"SELECT account_id, segment, {', '.join(counts)} FROM billing_frozen_subjects WHERE {ROWS} "
        "GROUP BY account_id, segment",
    )


def _facts(meter: Meter) -> MeterStatement:
    parameters: dict[str, list[str]] = {}
    kind = "event_type = 'job'" if meter.fact == "job" else f"event_type = 'device_report' AND kind = '{meter.fact}'"
    how, what = meter.aggregate
    if how == "sum":
        quantity = f"sum(toInt128(coalesce({what}, 0)))"
    elif what == "events":
        quantity = "uniqExact(source, event_id)"
    else:
        quantity = f"uniqExactIf({what}, {what} != '')"
    groups = ", ".join(("account_id", "segment", *meter.group_by))
    return MeterStatement(
        (meter,),
        meter.group_by,
        f"SELECT {groups}, {quantity} AS quantity FROM billing_frozen_facts "
        f"WHERE {ROWS} AND {kind} AND {_condition(meter, '', parameters)} GROUP BY {groups} HAVING quantity != 0",
        parameters,
    )


def _outcomes(meter: Meter) -> MeterStatement:
    """Outcomes less what was taken back: each original with its reversals, which count where it does.

    What is taken back never exceeds the original; one that is taken back wholly counts for nothing, whatever its
    reversal says of its value.
    """
    parameters: dict[str, list[str]] = {}
    how, what = meter.aggregate
    amount = f"toInt128(coalesce({what}, 0))" if how == "sum" else "toInt128(1)"
    names = tuple(dict.fromkeys((*meter.group_by, *meter.where)))
    kept = "NOT (reversals > 0 AND taken_quantity >= own_quantity)"
    if how == "sum":
        quantity = f"sum(if({kept}, greatest(own - taken, toInt128(0)), toInt128(0)))"
    elif what == "events":
        quantity = f"countIf({kept})"
    else:
        quantity = f"uniqExactIf(who, {kept} AND who != '')"
    originals = ", ".join(
        (
            "account_id",
            "segment",
            "source",
            "if(reverses = '', event_id, reverses) AS original",
            *(f"anyIf({name}, reverses = '') AS of_{name}" for name in names),
            f"anyIf({what if how == 'count' and what != 'events' else 'user'}, reverses = '') AS who",
            f"sumIf({amount}, reverses = '') AS own",
            f"sumIf({amount}, reverses != '') AS taken",
            "sumIf(toInt128(coalesce(quantity, 0)), reverses = '') AS own_quantity",
            "sumIf(toInt128(coalesce(quantity, 0)), reverses != '') AS taken_quantity",
            "countIf(reverses != '') AS reversals",
            "countIf(reverses = '') AS there",
        )
    )
    groups = ", ".join(("account_id", "segment", *(f"of_{name}" for name in meter.group_by)))
    return MeterStatement(
        (meter,),
        meter.group_by,
        f"SELECT {groups}, {quantity} AS result FROM ("
        f"SELECT {originals} FROM billing_frozen_facts WHERE {ROWS} AND event_type = 'outcome' "
        "GROUP BY account_id, segment, source, original"
        f") WHERE there > 0 AND {_condition(meter, '', parameters, prefix='of_', fidelity=False)} "
        f"GROUP BY {groups} HAVING result != 0",
        parameters,
    )


def _condition(
    meter: Meter, number: str, parameters: dict[str, list[str]], *, prefix: str = "", fidelity: bool = True
) -> str:
    """The meter's filters, with their values put into `parameters`."""
    conditions = ["usage_fidelity != 'estimated'"] if fidelity and not meter.include_estimated else []
    for position, (name, values) in enumerate(meter.where.items()):
        bound = f"where_{number}_{position}"
        parameters[bound] = list(values)
        conditions.append(f"has({{{bound}:Array(String)}}, {prefix}{name})")
    return " AND ".join(conditions) or "1"
