"""What usage costs whoever runs it: a file of rules (YAML), each for the usage that it matches.

costs: fleet
currency: USD
exchange: {EUR: 0.92}            # one USD is 0.92 EUR; for accounts that pay in another currency
rules:                           # the first that matches wins
  - {name: the customer pays, when: {cost_bearer: customer}}
  - {name: devices, when: {placement: device}}
  - name: bought
    when: {provider: openai}
    amounts: [{measure: upstream_cost_nanousd, amount: 1, per: 1_000_000_000}]
  - name: own GPUs               # 2.10 an hour
    amounts: [{measure: gpu_ms, amount: 2.10, per: 3_600_000}]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Annotated, Self

from fleetmeter_schemas.native_spec import ledger_measures
from pydantic import Field, ValidationError, field_validator, model_validator

from fleetmeter_billing.decide.traffic import Traffic
from fleetmeter_billing.errors import CostsError, CurrencyError
from fleetmeter_billing.rates.broken_rules import Amount, Filter, Positive
from fleetmeter_billing.rates.meter import CardPart, rollup_dimensions
from fleetmeter_billing.rates.money import CONTEXT, exponent
from fleetmeter_billing.rates.yaml_tree import Path as TreePath
from fleetmeter_billing.rates.yaml_tree import YamlRefusedError, read_text, read_yaml

UPSTREAM = "upstream_cost_nanousd"


class CostAmount(CardPart):
    """`amount` for `per` units of a measure."""

    measure: str
    amount: Amount
    per: Annotated[int, Field(gt=0)] = 1

    @field_validator("measure")
    @classmethod
    def _known(cls, measure: str) -> str:
        if measure not in ledger_measures():
            raise ValueError(f"{measure!r} is no measure of the rollups")
        return measure


class CostRule(CardPart):
    """Usage with these values of dimensions costs the sum of the amounts; without amounts, nothing."""

    name: Annotated[str, Field(min_length=1)]
    when: Annotated[Filter, Field(default_factory=dict)]
    amounts: tuple[CostAmount, ...] = ()

    @field_validator("when")
    @classmethod
    def _known(cls, when: Filter) -> Filter:
        if unknown := sorted(set(when) - set(rollup_dimensions())):
            raise ValueError(f"{', '.join(unknown)}: no dimension of the rollups, or labels")
        return when


class Costs(CardPart):
    """A file of costs."""

    costs: str
    currency: str
    exchange: Mapping[str, Positive] = {}
    rules: Annotated[tuple[CostRule, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        for code in (self.currency, *self.exchange):
            try:
                exponent(code)
            except CurrencyError as error:
                raise ValueError(str(error)) from error
        bought = any(one.measure == UPSTREAM for rule in self.rules for one in rule.amounts)
        if bought and self.currency != "USD":
            raise ValueError(f"{UPSTREAM} is in US dollars, and the file in {self.currency}")
        names = [rule.name for rule in self.rules]
        if len(set(names)) < len(names):
            raise ValueError("two rules have the same name")
        return self

    @property
    def dimensions(self) -> set[str]:
        """What the rules look at."""
        return {name for rule in self.rules for name in rule.when}

    def rate_to(self, currency: str) -> Decimal:
        """How much of a currency one unit of the file's is. Raises CostsError if the file does not say."""
        if currency == self.currency:
            return Decimal(1)
        if currency not in self.exchange:
            raise CostsError(
                f"costs {self.costs} are in {self.currency}, and accounts pay in {currency}: say under `exchange` how "
                f"much {currency} one {self.currency} is"
            )
        return self.exchange[currency]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a row of traffic costs, by which rule; and how many of its requests the rule could not see.

    A measure that a server did not report is not zero; such requests are in `unseen`, and what they cost is not in
    `amount`. Of a row that no rule matches (`rule` None) that is all of them.
    """

    rule: str | None
    amount: Decimal
    unseen: int


def cost_of(row: Traffic, costs: Costs) -> Cost:
    """The row's cost in the file's currency, unrounded. Pure."""
    requests = row.sum("requests")
    for rule in costs.rules:
        if any(row.dimensions[name] not in values for name, values in rule.when.items()):
            continue
        with localcontext(CONTEXT):
            amount = sum((one.amount * row.sum(one.measure) / one.per for one in rule.amounts), Decimal(0))
        seen = [row.sum(f"{one.measure}_samples") for one in rule.amounts if has_samples(one.measure)]
        return Cost(rule.name, amount, max(0, requests - min(seen, default=requests)))
    return Cost(None, Decimal(0), requests)


def has_samples(measure: str) -> bool:
    """Whether servers may leave the measure out, so that requests which reported it are counted."""
    return f"{measure}_samples" in ledger_measures()


def load_costs(path: Path) -> Costs:
    """Reads a file. Raises CostsError with a line for everything that is wrong, and OSError."""
    try:
        text = read_text(path)
    except YamlRefusedError as error:
        raise _unreadable(str(path), error) from error
    return parse_costs(text, str(path))


def parse_costs(text: str, source: str = "the costs") -> Costs:
    """Reads YAML. Raises CostsError."""
    try:
        tree = read_yaml(text)
    except YamlRefusedError as error:
        raise _unreadable(source, error) from error
    if not isinstance(tree.data, Mapping):
        raise CostsError(f"{source} can't be used:\n  line 1: costs are a mapping that begins with `costs:`")
    try:
        return Costs.model_validate(tree.data)
    except ValidationError as error:
        wrong = []
        for one in error.errors():
            path: TreePath = one["loc"]
            name = ".".join(map(str, path))
            wrong.append(
                f"line {tree.place(path).line}: {name + ': ' if name else ''}{one['msg'].removeprefix('Value error, ')}"
            )
        raise CostsError("\n  ".join([f"{source} can't be used:", *wrong])) from error


def _unreadable(source: str, error: YamlRefusedError) -> CostsError:
    wrong = [f"line {one.place.line}: {one.sentence}" for one in error.faults]
    return CostsError("\n  ".join([f"{source} can't be read:", *wrong]))
