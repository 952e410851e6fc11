"""Does what was counted equal what the oracle says?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fleetmeter_schemas.native_spec import ledger_measures

from fleetmeter_producers.simulator.oracle import KEY

_NO_SUMS: Final[Counter[str]] = Counter()
_Group = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure that is not what it must be."""

    account_id: str
    model: str
    generation_mode: str
    event_type: str
    measure: str
    expected: int
    found: int

    def __str__(self) -> str:
        group = " / ".join(part or "-" for part in (self.account_id, self.model, self.generation_mode, self.event_type))
        return f"{group}: {self.measure} is {self.found}, must be {self.expected} ({self.found - self.expected:+d})"


def verify_oracle(oracle: Mapping[str, Any], usage_rows: Iterable[Mapping[str, Any]]) -> list[Difference]:
    """The differences between an oracle and rows of usage, in the order of their groups; none if all is well.

    `usage_rows` have the columns account_id, model, generation_mode, event_type and all measures; they may be finer
    than those groups (by minute, by region): sums are compared. Groups that only one side has are differences too.
    Raises `ValueError` for an oracle that is not complete (it doesn't know what must be counted), and for a row that
    lacks a column (a missing figure is not a zero).
    """
    if not oracle["complete"]:
        raise ValueError(
            "the oracle is not complete: the simulator could not tell whether all its records arrived. "
            "Simulate again into an empty topic."
        )
    expected: dict[_Group, Mapping[str, int]] = {_group(row): row for row in oracle["usage"]}
    found: defaultdict[_Group, Counter[str]] = defaultdict(Counter)
    measures = ledger_measures()
    for row in usage_rows:
        if lacking := [name for name in (*KEY, *measures) if name not in row]:
            raise ValueError(f"the usage row {dict(row)} lacks {', '.join(lacking)}")
        group = found[_group(row)]
        for measure in measures:
            group[measure] += int(row[measure])
    return [
        Difference(*key, measure, must, has)
        for key in sorted({*expected, *found})
        for measure in measures
        if (must := expected.get(key, {}).get(measure, 0)) != (has := found.get(key, _NO_SUMS)[measure])
    ]


def _group(row: Mapping[str, Any]) -> _Group:
    account, model, mode, event_type = (str(row[name]) for name in KEY)
    return account, model, mode, event_type
