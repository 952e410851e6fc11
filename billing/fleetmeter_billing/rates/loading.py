"""From a YAML file to a rate card; what is wrong is told with its line and its rule, all of it at once."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fleetmeter_billing.errors import CardError
from fleetmeter_billing.rates.card import RateCard
from fleetmeter_billing.rates.yaml_tree import Path as TreePath
from fleetmeter_billing.rates.yaml_tree import Place, YamlRefusedError, YamlTree, read_text, read_yaml

_RULES: Final = {"missing": "required", "extra_forbidden": "unknown_key"}
"""Names for pydantic's most frequent rules; the others keep theirs."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One rule that a card breaks."""

    line: int
    column: int
    path: str
    rule: str
    sentence: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.path + ': ' if self.path else ''}{self.sentence} [{self.rule}]"


class CardRefusedError(CardError):
    """A card that breaks rules; `problems` has all that were found, by line."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(sorted(problems, key=lambda one: (one.line, one.column)))
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n  ".join([f"{source} has {count}:", *map(str, self.problems)]))


def load_card(path: Path) -> RateCard:
    """Reads a card's file. Raises CardRefusedError, and OSError if the file can't be read."""
    return parse_card(read_card_text(path), source=str(path))


def read_card_text(path: Path) -> str:
    """The text of a card's file. Raises CardRefusedError if it is none, and OSError if the file can't be read."""
    try:
        return read_text(path)
    except YamlRefusedError as error:
        raise _unreadable(str(path), error) from error


def parse_card(text: str, *, source: str = "the card") -> RateCard:
    """Reads a card from YAML (or JSON, which is YAML). Raises CardRefusedError, whose message begins with `source`."""
    try:
        tree = read_yaml(text)
    except YamlRefusedError as error:
        raise _unreadable(source, error) from error
    if not isinstance(tree.data, Mapping):
        raise CardRefusedError(source, [Problem(1, 1, "", "mapping", "a card is a mapping that begins with `card:`")])
    try:
        return RateCard.model_validate(tree.data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        raise CardRefusedError(source, [_problem(one, tree) for one in details]) from error


def _unreadable(source: str, error: YamlRefusedError) -> CardRefusedError:
    return CardRefusedError(
        source, [Problem(one.place.line, one.place.column, "", one.rule, one.sentence) for one in error.faults]
    )


def _problem(error: ErrorDetails, tree: YamlTree) -> Problem:
    path = (*_known_part(error["loc"], tree.data), *error.get("ctx", {}).get("at", ()))
    rule, sentence = error["type"], error["msg"]
    place = tree.place(path)
    if rule == "missing":
        sentence = f"{error['loc'][-1]} is missing"
    elif rule == "extra_forbidden":
        sentence = _unknown(str(path[-1]))
    elif rule in {"union_tag_not_found", "union_tag_invalid"}:
        expected = str(error.get("ctx", {}).get("expected_tags", "")) or "unit"
        sentence = f"`type` is one of {expected}" if rule == "union_tag_invalid" else "say the model by `type`"
        path = (*path, "type")
        place = tree.place(path)
    return Problem(*_numbers(place), _spell(path), _RULES.get(rule, rule), sentence)


def _known_part(location: tuple[int | str, ...], data: Any) -> TreePath:
    """pydantic's location without what is not in the file, such as the names of union members and marks of keys."""
    path: list[str | int] = []
    for part in location:
        if _has(data, part):
            path.append(part)
            data = data[part]
    return tuple(path)


def _has(data: Any, part: int | str) -> bool:
    if isinstance(data, Mapping):
        return part in data
    return isinstance(data, list) and isinstance(part, int) and part < len(data)


def _unknown(key: str) -> str:
    near = difflib.get_close_matches(key, _all_keys(), 1)
    return f"{key!r} is not known here" + (f"; is {near[0]!r} meant?" if near else "")


def _all_keys() -> list[str]:
    """Every key that a card may have anywhere."""
    found: set[str] = set()
    open_models: list[type[BaseModel]] = [RateCard]
    seen: set[type[BaseModel]] = set()
    while open_models:
        model = open_models.pop()
        if model in seen:
            continue
        seen.add(model)
        found.update(model.model_fields)
        for info in model.model_fields.values():
            open_models += _models_in(info.annotation)
    return sorted(found)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models_in(part)]


def _numbers(place: Place) -> tuple[int, int]:
    return place.line, place.column


def _spell(path: TreePath) -> str:
    """`prices.output.model.tiers[1].up_to`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
