"""Where trying the device first is not worth it: kinds of queries that mostly end in the cloud after all. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

Advice = Literal["route to the cloud", "keep on devices", "too few to tell", "local answers not metered"]
_Z = 1.959964
"""Standard deviations that hold 95 % of a normal distribution."""


@dataclass(frozen=True, slots=True)
class Attempts:
    """Local attempts of one model at one kind of query: those that were answered, and those that fell back."""

    model: str
    query_class: str
    fallbacks: int
    local_answers: int
    top_reason: str = ""
    wasted_input_tokens: int = 0
    wasted_output_tokens: int = 0
    wasted_active_ms: int = 0

    @staticmethod
    def of(row: Mapping[str, Any]) -> Attempts:
        """A row of the named query `fallback_hot_spots`."""
        names = ("fallbacks", "local_answers", "wasted_input_tokens", "wasted_output_tokens", "wasted_active_ms")
        return Attempts(
            row["model"], row["query_class"], top_reason=row["top_reason"], **{name: int(row[name]) for name in names}
        )


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to do about one kind of query.

    `rate` of attempts fell back, and with 95 % confidence at least `rate_lower` and at most `rate_upper` do (Wilson's
    interval). Sent to the cloud at once, they save what the fallbacks wasted, and add `more_cloud_queries` (what
    devices do answer), which cost `more_cost`.
    """

    attempts: Attempts
    advice: Advice
    rate: float | None
    rate_lower: float | None
    rate_upper: float | None
    more_cloud_queries: int
    more_cost: Decimal | None


def recommend(
    attempts: Iterable[Attempts], *, limit: float = 0.5, cloud_query_cost: Decimal | None = None
) -> list[Recommendation]:
    """What to do about each kind of query, where most is wasted first.

    Above `limit` (a share of attempts) a kind had better go to the cloud, if so many attempts leave no doubt about it.
    """
    found = []
    for one in attempts:
        total = one.fallbacks + one.local_answers
        advice: Advice = "local answers not metered"
        rate = low = high = None
        if one.local_answers:
            rate = one.fallbacks / total
            low, high = wilson(one.fallbacks, total)
            advice = "route to the cloud" if low > limit else "keep on devices" if high < limit else "too few to tell"
        more = one.local_answers
        cost = None if cloud_query_cost is None else cloud_query_cost * more
        found.append(Recommendation(one, advice, rate, low, high, more, cost))
    order = {"route to the cloud": 0, "too few to tell": 1, "local answers not metered": 2, "keep on devices": 3}
    return sorted(found, key=lambda one: (order[one.advice], -one.attempts.wasted_active_ms, -one.attempts.fallbacks))


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share of which `hits` of `trials` were seen (Wilson 1927); trials at least 1."""
    share, z2 = hits / trials, _Z * _Z
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _Z / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials))
    return max(0.0, centre - half), min(1.0, centre + half)
