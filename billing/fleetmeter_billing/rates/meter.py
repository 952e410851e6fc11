"""A meter: what a price is applied to. A sum of a rollup measure, a count of distinct subjects, or facts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Final, Literal, Self

from fleetmeter_schemas.fields import FieldSpec, Kind, Role, field_table
from fleetmeter_schemas.native_spec import fact_types, ledger_dimensions, ledger_measures, rollup_types
from pydantic import BaseModel, ConfigDict, Field, model_validator

from fleetmeter_billing.rates.broken_rules import Filter, broken, choices

Subject = Literal["user", "conversation", "installation"]
Fact = Literal["seat", "download", "deploy", "upgrade", "remove", "outcome", "job"]
Counted = Literal["events", "user", "installation"]

_NEVER: Final = "labels"


class CardPart(BaseModel):
    """Base of everything in a card: frozen, and strict about names, so that a typing error is never a free product."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Meter(CardPart):
    """What is measured, exactly one of `measure`, `distinct` and `fact`. Quantities are whole numbers."""

    name: Annotated[str, Field(description="The meter's key in the card; need not be written.")] = ""
    measure: Annotated[str | None, Field(description="A rollup measure to sum, such as output_tokens.")] = None
    plus: Annotated[tuple[str, ...], Field(description="Measures that are added to `measure`.")] = ()
    minus: Annotated[tuple[str, ...], Field(description="Measures that are taken off `measure`: its parts.")] = ()
    distinct: Annotated[Subject | None, Field(description="Subjects, counted once in each part of a period.")] = None
    fact: Annotated[Fact | None, Field(description="Reports, outcomes or jobs that are counted or summed.")] = None
    count: Annotated[
        Counted | None, Field(description="With `fact`: count events, or the distinct users or installations in them.")
    ] = None
    sum: Annotated[
        str | None, Field(description="With `fact`: a field to sum instead, such as quantity or training_tokens.")
    ] = None
    where: Annotated[
        Filter,
        Field(description="Only usage with these values of dimensions: one value, or a list of them."),
    ] = {}
    group_by: Annotated[
        tuple[str, ...], Field(description="Dimensions that prices may tell apart: multipliers, rules, own lines.")
    ] = ()
    include_estimated: Annotated[
        bool, Field(description="Count usage whose usage_fidelity is `estimated`, too; else it is left out.")
    ] = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = [kind for kind in ("measure", "distinct", "fact") if getattr(self, kind) is not None]
        if len(kinds) != 1:
            found = " and ".join(kinds) or "none"
            raise broken("one_source", f"a meter has exactly one of measure, distinct and fact; here: {found}")
        if self.fact is None and (self.count or self.sum):
            raise broken("one_source", "`count` and `sum` are for meters of a `fact`")
        if self.measure is None and (self.plus or self.minus):
            raise broken("one_source", "`plus` and `minus` are for meters of a `measure`")
        if self.measure is not None:
            self._check_measures()
        if self.fact is not None:
            self._check_fact(self.fact)
        self._check_dimensions()
        return self

    def _check_measures(self) -> None:
        known = set(ledger_measures())
        named: list[tuple[tuple[str | int, ...], str]] = [(("measure",), self.measure or "")]
        for field, names in (("plus", self.plus), ("minus", self.minus)):
            named += [((field, index), name) for index, name in enumerate(names)]
        for at, name in named:
            if name not in known:
                raise broken("unknown_measure", f"{name!r} is no measure of the rollups: {choices(known, name)}", *at)

    def _check_fact(self, fact: str) -> None:
        if self.count and self.sum:
            raise broken("one_source", "a fact is either counted or summed: leave out `count` or `sum`")
        known = summable(fact)
        if self.sum is not None and self.sum not in known:
            can = f"can be summed: {choices(known)}" if known else "can only be counted"
            raise broken("unknown_field", f"{self.sum!r} is nothing that can be summed of {fact}; it {can}", "sum")
        if self.count == "installation" and fact == "job":
            raise broken("unknown_field", "a job has no installation: count events", "count")
        if self.count == "user" and fact not in {"seat", "outcome"}:
            raise broken("unknown_field", f"a {fact} has no user: count events or installations", "count")

    def _check_dimensions(self) -> None:
        known = self.dimensions
        places: list[tuple[str, str | int, str]] = [("where", name, name) for name in self.where]
        places += [("group_by", index, name) for index, name in enumerate(self.group_by)]
        for field, key, name in places:
            if name == _NEVER:
                raise broken(
                    "labels_never_priced",
                    "labels are for analysis, never for prices: an account that floods them has its usage counted "
                    "under __other__, so a bill would depend on the order of arrival; use a dimension",
                    field,
                    key,
                )
            if name not in known:
                can = (
                    f"it has {choices(known, name)}"
                    if known
                    else "it has none, since a subject is counted once, whatever it used"
                )
                raise broken("unknown_dimension", f"{name!r} is no dimension of this meter; {can}", field, key)
        for name, values in self.where.items():
            allowed = known[name]
            for index, value in enumerate(values):
                if allowed is not None and value not in allowed:
                    one_of = choices(repr(one) for one in allowed)
                    raise broken("unknown_value", f"{value!r} never occurs in {name}: {one_of}", "where", name, index)
        if not self.include_estimated and "estimated" in self.where.get("usage_fidelity", ()):
            raise broken(
                "estimates_left_out", "to count estimated usage say include_estimated: true", "where", "usage_fidelity"
            )

    @property
    def dimensions(self) -> Mapping[str, tuple[str, ...] | None]:
        """The dimensions that usage of this meter has, with the closed list of values where there is one; no labels."""
        if self.distinct is not None:
            return {}
        return fact_dimensions(self.fact) if self.fact is not None else rollup_dimensions()

    @property
    def aggregate(self) -> tuple[Literal["sum", "count"], str]:
        """For facts: what is done. Unless the card says otherwise seats count distinct installations, outcomes sum
        their quantity (less that of outcomes they reverse), everything else counts events."""
        if self.sum is not None:
            return "sum", self.sum
        if self.count is not None:
            return "count", self.count
        if self.fact == "outcome":
            return "sum", "quantity"
        return "count", "installation" if self.fact == "seat" else "events"


@cache
def rollup_dimensions() -> Mapping[str, tuple[str, ...] | None]:
    """Every dimension of the rollups but labels; with its closed list of values, None where any text may be."""
    found: dict[str, tuple[str, ...] | None] = {}
    for model in rollup_types():
        found.update({f.name: _choices(f) for f in field_table(model) if f.role is Role.DIMENSION})
        found.update({band.name: ("", *band.labels) for band in model.BANDS})
    return {name: found[name] for name in ledger_dimensions() if name != _NEVER}


@cache
def fact_dimensions(fact: str) -> Mapping[str, tuple[str, ...] | None]:
    """The dimensions of a kind of fact but labels."""
    table = _table(fact)
    found = {f.name: _choices(f) for f in table if f.role is Role.DIMENSION and f.name != _NEVER}
    if fact not in {"outcome", "job"}:
        del found["kind"]
    return found


@cache
def summable(fact: str) -> frozenset[str]:
    """What can be summed of a kind of fact. Nothing of reports: what devices say they did is never charged."""
    if fact not in {"outcome", "job"}:
        return frozenset()
    return frozenset(f.name for f in _table(fact) if f.role is Role.DETAIL and f.kind is Kind.UINT)


def _table(fact: str) -> tuple[FieldSpec, ...]:
    short = fact if fact in {"outcome", "job"} else "device_report"
    return next(field_table(model) for model in fact_types() if short == model.SHORT)


def _choices(spec: FieldSpec) -> tuple[str, ...] | None:
    if spec.choices is None:
        return None
    return tuple(dict.fromkeys(("", *spec.choices)))
