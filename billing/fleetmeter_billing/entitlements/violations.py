"""What happened that a plan does not allow. Pure: facts and terms in, violations out.

Nothing is refused or charged by it: usage is metered whether it was allowed or not, and what to do about it is for
people, or for a gateway that asks before it happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from fleetmeter_billing.entitlements.model_rules import ModelRules
from fleetmeter_billing.entitlements.terms import EntitledPart, Headcount, part_at

Rule = Literal[
    "model_not_included",
    "fallback_not_included",
    "feature_not_included",
    "seats_exceeded",
    "devices_exceeded",
    "downloads_exceeded",
    "no_subscription",
]
DeviceKind = Literal["download", "deploy", "upgrade"]
RulesOf = Callable[[EntitledPart], ModelRules]


@dataclass(frozen=True, slots=True)
class Happened:
    """One fact: a download, deployment or upgrade of `what` (a model), or a job that used `what` (a feature)."""

    account: str
    kind: DeviceKind | Literal["job"]
    what: str
    time: datetime
    source: str
    event_id: str


@dataclass(frozen=True, slots=True)
class FellBack:
    """Cloud generations of one model after local attempts, in one minute."""

    account: str
    model: str
    minute: datetime
    requests: int


@dataclass(frozen=True, slots=True)
class Heads:
    """What was counted distinct of an account in its period."""

    account: str
    seats: int = 0
    """Users that hold a seat."""
    devices: int = 0
    """Installations that hold a seat, or from which a user who holds one was seen."""
    downloads: int = 0
    """Pairs of an installation and a version of a model."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One event that the plan does not allow (`event_id` tells which), or a count that it exceeds."""

    account: str
    rule: Rule
    sentence: str
    plan: str | None
    what: str
    quantity: int
    first: datetime
    last: datetime
    source: str = ""
    event_id: str = ""


def violations_of_facts(
    parts: Mapping[str, Sequence[EntitledPart]], facts: Iterable[Happened], rules_of: RulesOf
) -> Iterator[Violation]:
    """One violation for each fact that its account's plan, at its time, does not allow. Facts outside of the parts are
    passed over: they belong to another period."""
    for fact in facts:
        part = part_at(parts.get(fact.account, ()), fact.time)
        if part is None:
            continue
        rule: Rule = "feature_not_included" if fact.kind == "job" else "model_not_included"
        if part.plan is None:
            rule, sentence = "no_subscription", f"{fact.kind} of {fact.what} while no subscription held"
        else:
            rules = rules_of(part)
            refuses = rules.refuses_feature if fact.kind == "job" else rules.refuses_download
            reason = refuses(fact.what)
            if reason is None:
                continue
            sentence = f"{fact.kind}: {reason}"
        yield Violation(
            *(fact.account, rule, sentence, part.plan, fact.what, 1, fact.time, fact.time),
            source=fact.source,
            event_id=fact.event_id,
        )


def violations_of_fallbacks(
    parts: Mapping[str, Sequence[EntitledPart]], fallbacks: Iterable[FellBack], rules_of: RulesOf
) -> list[Violation]:
    """One violation for each account, part and model, with the number of requests, and the first and last minute."""
    found: dict[tuple[str, datetime, str], Violation] = {}
    for one in fallbacks:
        part = part_at(parts.get(one.account, ()), one.minute)
        if part is None or part.plan is None:
            continue
        reason = rules_of(part).refuses_fallback(one.model)
        if reason is None:
            continue
        key = one.account, part.start, one.model
        was = found.get(key)
        found[key] = Violation(
            account=one.account,
            rule="fallback_not_included",
            sentence=reason,
            plan=part.plan,
            what=one.model,
            quantity=one.requests + (was.quantity if was else 0),
            first=min(one.minute, was.first) if was else one.minute,
            last=max(one.minute, was.last) if was else one.minute,
        )
    return [found[key] for key in sorted(found)]


@dataclass(frozen=True, slots=True)
class Standing:
    """One count beside what it may be: `committed` by the subscription (more is usually charged), `limit` by the plan
    (more is a violation); None where there is none."""

    what: Literal["seats", "devices", "downloads"]
    counted: int
    committed: int | None
    limit: int | None

    @property
    def state(self) -> Literal["within", "over_committed", "over_limit"]:
        """`over_limit` wins."""
        if self.limit is not None and self.counted > self.limit:
            return "over_limit"
        if self.committed is not None and self.counted > self.committed:
            return "over_committed"
        return "within"


def standings(parts: Sequence[EntitledPart], heads: Heads) -> list[Standing]:
    """The account's counts of the period beside the most that any part of it allows: a count is of the whole period, so
    that a plan which was larger for a while covers it."""
    held = [part for part in parts if part.plan is not None]
    kinds: tuple[Headcount, ...] = ("seats", "devices")
    found = [
        Standing(
            kind,
            getattr(heads, kind),
            max((part.committed[kind] for part in held if kind in part.committed), default=None),
            _limit([getattr(part.entitlements, kind) for part in held]),
        )
        for kind in kinds
    ]
    return [*found, Standing("downloads", heads.downloads, None, _limit([p.entitlements.downloads for p in held]))]


def violations_of_counts(parts: Sequence[EntitledPart], heads: Heads) -> Iterator[Violation]:
    """One violation for each count above the plan's limit."""
    for one in standings(parts, heads):
        if one.state == "over_limit":
            rules: dict[str, Rule] = {"seats": "seats_exceeded", "devices": "devices_exceeded"}
            yield Violation(
                account=heads.account,
                rule=rules.get(one.what, "downloads_exceeded"),
                sentence=f"{one.counted:,} {one.what} in the period; the plan has {one.limit:,}",
                plan=next((part.plan for part in reversed(parts) if part.plan is not None), None),
                what=one.what,
                quantity=one.counted,
                first=parts[0].start,
                last=parts[-1].end,
            )


def _limit(limits: Sequence[int | None]) -> int | None:
    """The largest; None, which is no limit, if one of them is none."""
    known = [one for one in limits if one is not None]
    return max(known) if known and len(known) == len(limits) else None
