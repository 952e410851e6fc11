"""For random lateness: the bills of several periods, with their corrections, add up to bills made once of all usage."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import pytest
from fleetmeter_billing.accounts.account_store import load_accounts
from fleetmeter_billing.accounts.segments import segments_of
from fleetmeter_billing.invoices.making import make_invoices, read_material
from fleetmeter_billing.periods.close import CloseRules, CloseWorld, close_period
from fleetmeter_billing.rates.rating import rate_segment
from fleetmeter_billing.rates.usage import MeteredUsage
from fleetmeter_doubles.counted_usage import CountedUsage, apply_yaml, card_version, usage_row
from fleetmeter_doubles.invoice_samples import METERS, PRICES, card, cards

pytestmark = pytest.mark.clickhouse

PERIODS = ("2026-09", "2026-10", "2026-11")
RULES = CloseRules(lateness_s=0, by="test")
CARD = card(
    {
        **PRICES,
        "bulk": {
            "label": "Forward passes",
            "meter": "passes",
            "unit": "passes",
            "per": 1000,
            "model": {"type": "volume", "tiers": [{"up_to": 5_000, "amount": "3.33"}, {"amount": "1.111"}]},
        },
        "models": {
            "label": "Downloads",
            "meter": "downloads",
            "unit": "downloads",
            "included": 2,
            "model": {"type": "unit", "amount": "0.07"},
        },
        "people": {"label": "Users", "meter": "users", "unit": "users", "model": {"type": "unit", "amount": "1.005"}},
    },
    meters={
        **METERS,
        "passes": {"measure": "function_evaluations"},
        "downloads": {"fact": "download"},
        "users": {"distinct": "user"},
    },
)
MEASURES = {"tokens": "output_tokens", "steps": "denoising_steps", "passes": "function_evaluations"}


@dataclass(frozen=True)
class Happening:
    """What one account did in one period, on a day; it arrives before the close of number `arrives`, from 0."""

    account: str
    period: int
    day: int
    arrives: int
    meter: str
    amount: int
    who: str

    @property
    def moment(self) -> str:
        return f"{PERIODS[self.period]}-{self.day:02} 12:00:00"


def drawn(random_: random.Random, accounts: Sequence[str]) -> list[Happening]:
    found = []
    for account in accounts:
        for number in range(random_.randrange(0, 25)):
            period = random_.randrange(len(PERIODS))
            meter = random_.choice([*MEASURES, "downloads", "users"])
            found.append(
                Happening(
                    account,
                    period,
                    random_.randrange(2, 28),
                    min(period + random_.choice([0, 0, 0, 1, 1, 2]), len(PERIODS) - 1),
                    meter,
                    random_.choice([1, 7, 999, 5_000, 999_999, 1_000_000, 12_345_678]),
                    f"{account}-{number if meter == 'downloads' else random_.randrange(4)}",
                )
            )
    return found


def arrive(counted: CountedUsage, happened: Sequence[Happening]) -> None:
    summed = [one for one in happened if one.meter in MEASURES]
    rows = [usage_row(one.account, one.moment, **{MEASURES[one.meter]: one.amount}) for one in summed]
    facts = [
        {
            "account_id": one.account,
            "source": "s",
            "event_id": one.who,
            "event_type": "device_report",
            "kind": "download",
            "time": one.moment,
            "topic": "t",
            "offset": next(counted.offsets),
        }
        for one in happened
        if one.meter == "downloads"
    ]
    subjects = [
        {
            "account_id": one.account,
            "day": one.moment[:10],
            "subject_kind": "user",
            "subject": one.who,
            "first_seen": one.moment,
            "last_seen": one.moment,
        }
        for one in happened
        if one.meter == "users"
    ]
    for table, put in (("ledger", rows), ("usage_facts", facts), ("usage_subjects", subjects)):
        if put:
            counted.put(table, put)
    counted.marker("2027-02-01 00:00:00")


def quantities(happened: Sequence[Happening]) -> dict[tuple[str, str, int], dict[str, int]]:
    """By account, period and segment (a second one begins on the 15th): sums, events and distinct users."""
    sums: dict[tuple[str, str, int], Counter[str]] = defaultdict(Counter)
    users: dict[tuple[str, str, int], set[str]] = defaultdict(set)
    for one in happened:
        key = (one.account, PERIODS[one.period], int(one.day >= 15))
        if one.meter == "users":
            users[key].add(one.who)
        else:
            sums[key][one.meter] += one.amount if one.meter in MEASURES else 1
    return {key: {**sums[key], "users": len(users[key])} for key in {*sums, *users}}


def once(counted: CountedUsage, happened: Sequence[Happening]) -> dict[tuple[str, str], Decimal]:
    """What each account owes for each period, from all usage at once."""
    used = quantities(happened)
    owed: dict[tuple[str, str], Decimal] = {}
    for name, stored in load_accounts(counted.client).items():
        for period in PERIODS:
            whole = stored.subscriber.account.rule.named(period)
            assert whole is not None
            total = Decimal(0)
            for number, part in enumerate(segments_of(stored.subscriber, whole, {"standard": [card_version()]})):
                assert part.segment is not None
                of_part = used.get((name, period, number), {})
                metered = [MeteredUsage(meter, (), amount) for meter, amount in of_part.items() if amount]
                total += sum((line.amount for line in rate_segment(CARD, part.segment, metered)), Decimal(0))
            owed[name, period] = total
    return owed


def test_bills_and_corrections_add_up_to_one_bill_of_all_usage(
    counted: CountedUsage, tell: Callable[[str], None]
) -> None:
    seed = random.SystemRandom().randrange(10**9)
    tell(f"late usage was drawn with seed {seed}")
    accounts = [f"a{number:02}" for number in range(30)]
    changes = "".join(
        f", {{from: {period}-{day}, status: changed, committed: {{seats: {seats}}}}}"
        for number, period in enumerate(PERIODS)
        for day, seats in (("01", 10 + number), ("15", 20 + number))
    )
    subscription = f"[{{from: 2026-01-01, card: standard}}{changes}]"
    listed = [f"\n  - {{account: {name}, currency: EUR, subscription: {subscription}}}" for name in accounts]
    apply_yaml(counted.client, f"accounts:{''.join(listed)}")
    happened = drawn(random.Random(seed), accounts)
    billed: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for number, period in enumerate(PERIODS):
        arrive(counted, [one for one in happened if one.arrives == number])
        close_period(
            counted.client, period, lambda: {"standard": [card_version()]}, RULES, CloseWorld(accounts_a_statement=12)
        )
        for invoice in make_invoices(read_material(counted.client, period, cards(CARD)), cards(CARD)):
            for line in invoice.lines:
                billed[invoice.account, line.usage_period] += line.amount
    assert {key: amount for key, amount in billed.items() if amount} == once(counted, happened)
    assert any(one.arrives > one.period for one in happened)
