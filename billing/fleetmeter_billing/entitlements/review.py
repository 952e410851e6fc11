"""A review of many accounts: each one's counts beside its terms, and everything that its plan did not allow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from fleetmeter_schemas.catalogue import Catalogue, load_catalogue

from fleetmeter_billing.accounts.account import Subscriber
from fleetmeter_billing.accounts.segments import Cards
from fleetmeter_billing.accounts.selection import few
from fleetmeter_billing.clickhouse import BillingClient
from fleetmeter_billing.entitlements.facts import (
    Window,
    derived_models,
    events_of,
    facts_by_kind,
    fallback_models,
    fallbacks_of,
    heads_of,
)
from fleetmeter_billing.entitlements.model_rules import ModelRules
from fleetmeter_billing.entitlements.terms import CardOf, EntitledPart, entitled_parts
from fleetmeter_billing.entitlements.violations import (
    Heads,
    RulesOf,
    Standing,
    Violation,
    standings,
    violations_of_counts,
    violations_of_facts,
    violations_of_fallbacks,
)
from fleetmeter_billing.errors import PeriodError
from fleetmeter_billing.periods.period import Period
from fleetmeter_billing.rates.plan import Entitlements

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class AccountReview:
    """One account's period: its parts, its counts beside what they may be, and its violations in order of time."""

    account: str
    period: str
    parts: tuple[EntitledPart, ...]
    standings: tuple[Standing, ...]
    violations: tuple[Violation, ...]


def review(
    client: BillingClient,
    subscribers: Sequence[Subscriber],
    period: str | datetime,
    cards: Cards,
    card_of: CardOf,
    *,
    progress: Progress = lambda _doing, _done, _total: None,
) -> list[AccountReview]:
    """Review these accounts, in their order, for the billing period of that name, or the one that a moment lies in.

    Accounts that have no period of that name are left out. Raises PeriodError if none has it, and AccountsError.
    """
    parts: dict[str, list[EntitledPart]] = {}
    names: dict[str, str] = {}
    windows: dict[Window, list[str]] = {}
    for subscriber in subscribers:
        found = _period(subscriber, period)
        if found is None:
            continue
        name, zone = subscriber.account.account, subscriber.account.zone
        parts[name] = entitled_parts(subscriber, found, cards, card_of)
        names[name] = found.name
        windows.setdefault((found.starts(zone), found.ends(zone)), []).append(name)
    if not parts and isinstance(period, str):
        raise PeriodError(f"none of these accounts has a billing period {period}: see fleetmeter accounts list")
    heads: dict[str, Heads] = {}
    violations: dict[str, list[Violation]] = {name: [] for name in parts}
    for done, (window, accounts) in enumerate(windows.items()):
        progress("reading facts", done, len(windows))
        own = {name: parts[name] for name in accounts}
        heads.update(_asked(heads_of(client, window, few(accounts)), own))
        for one in _of_window(client, window, own):
            violations[one.account].append(one)
    reviews = []
    for name, of in parts.items():
        counted = heads.get(name, Heads(name))
        every = [*violations[name], *violations_of_counts(of, counted)]
        every.sort(key=lambda one: (one.first, one.rule, one.what, one.event_id))
        reviews.append(AccountReview(name, names[name], tuple(of), tuple(standings(of, counted)), tuple(every)))
    return reviews


def rules_by_part(derived: Mapping[str, Mapping[str, str]], catalogue: Catalogue) -> RulesOf:
    """A function that gives the rules of a part, made once for each account and plan."""

    @cache
    def made(account: str, entitlements: Entitlements) -> ModelRules:
        return ModelRules(entitlements, catalogue, derived.get(account, {}))

    return lambda part: made(part.account if part.account in derived else "", part.entitlements)


def _of_window(client: BillingClient, window: Window, parts: Mapping[str, Sequence[EntitledPart]]) -> list[Violation]:
    asked = few(list(parts))
    rules_of = rules_by_part(derived_models(client, asked), load_catalogue())

    def refused(account: str, kind: str, what: str) -> bool:
        for part in parts[account]:
            rules = rules_of(part)
            refuses = {"job": rules.refuses_feature, "fallback": rules.refuses_fallback}
            if part.plan is None or refuses.get(kind, rules.refuses_download)(what) is not None:
                return True
        return False

    facts = facts_by_kind(client, window, asked)
    suspects = sorted(one for one in facts if one[0] in parts and refused(*one))
    cloud = sorted(
        (account, model)
        for account, model in fallback_models(client, window, asked)
        if account in parts and refused(account, "fallback", model)
    )
    return [
        *violations_of_facts(parts, events_of(client, window, suspects), rules_of),
        *violations_of_fallbacks(parts, fallbacks_of(client, window, cloud), rules_of),
    ]


def _period(subscriber: Subscriber, period: str | datetime) -> Period | None:
    account = subscriber.account
    if isinstance(period, str):
        return account.rule.named(period)
    return account.rule.containing(period.astimezone(account.zone).date())


def _asked(heads: Mapping[str, Heads], accounts: Mapping[str, object]) -> dict[str, Heads]:
    return {name: one for name, one in heads.items() if name in accounts}
