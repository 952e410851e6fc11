"""What differs between two cards: each value that was added, removed or changed, by its path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fleetmeter_billing.rates.card import RateCard


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference; `old` or `new` is None where the value is only in one of the cards."""

    path: str
    kind: Literal["added", "removed", "changed"]
    old: Any
    new: Any


def differences(old: RateCard, new: RateCard) -> list[Difference]:
    """All differences, in the order of the newer card; what was removed stands where it had stood."""
    return list(_compare("", _plain(old), _plain(new)))


def _plain(card: RateCard) -> Any:
    return card.model_dump(mode="json", exclude_defaults=True)


def _compare(path: str, old: Any, new: Any) -> Iterator[Difference]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(key for key in new if key not in old)]:
            if key == "name" and path:
                continue  # repeats its key
            yield from _entry(f"{path}.{key}" if path else key, old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            here = f"{path}[{index}]"
            yield from _entry(here, old[index] if index < len(old) else None, new[index] if index < len(new) else None)
    elif old != new:
        yield Difference(path, "changed", old, new)


def _entry(path: str, old: Any, new: Any) -> Iterator[Difference]:
    if old is None and new is not None:
        yield Difference(path, "added", None, new)
    elif new is None and old is not None:
        yield Difference(path, "removed", old, None)
    else:
        yield from _compare(path, old, new)
