"""Closing a billing period: freeze it under a fresh name, then let one row of the log make it count.

    1. log         read what is closed; the period is: done
    2. sweep       remove what dead attempts at earlier numbers left
    3. complete    every partition's watermark has passed the end by the lateness, and positions are noted
    4. freeze      segments, usage, facts, adjustments, subjects, what nobody pays for; of earlier periods, what is new
    5. check       what was frozen is what was sent, and no period lost usage
    6. switch      add row seq to the log, which is a compare-and-swap; read it back
    7. ours: done. A rival's: remove our rows, begin again at 1

Killed before 6 nothing happened, since nobody reads rows of a close_id that the log does not name; killed after it the
period is closed. Each attempt has a close_id of its own, so nothing of an earlier one can mix with it, and steps 1 to 5
may be repeated. What makes the removal in 2 and 7 safe: it touches numbers only up to the newest of the log. An attempt
at such a number that has not won can't win any more, since its guard asks for the number before.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from fleetmeter_billing.accounts.account_store import StoredAccount, load_accounts
from fleetmeter_billing.accounts.segments import Cards
from fleetmeter_billing.clickhouse import DELETE_SETTINGS, READ_SETTINGS, BillingClient
from fleetmeter_billing.errors import BillingError
from fleetmeter_billing.linear_log import Patience
from fleetmeter_billing.periods.close_log import CLOSE_LOG, FROZEN_TABLES, Close, close_ids, winning_closes
from fleetmeter_billing.periods.completeness import LogEnds, check_all_taken, check_complete, reach_of_facts, read_reach
from fleetmeter_billing.periods.freeze import Freeze
from fleetmeter_billing.periods.period import PeriodRule, first_day_of
from fleetmeter_billing.periods.scope import Scope, scope_of

ACCOUNTS_A_STATEMENT: Final = 2_500
"""How many accounts' usage one statement freezes: bounds its memory, and is a step of the progress."""

STEPS: Final = (
    "log_read",
    "swept",
    "complete",
    "segments_frozen",
    "surveyed",
    "usage_frozen",
    "facts_frozen",
    "adjustments_frozen",
    "subjects_frozen",
    "unbilled_listed",
    "checked",
    "before_insert",
    "after_insert",
    "after_read_back",
)
"""The points at which a test may kill a close, in order."""

Progress = Callable[[str, int, int], None]
"""What is being done, how much of it is, out of how much."""


@dataclass(frozen=True, slots=True)
class CloseRules:
    """What an operator decides about closing, apart from which period."""

    lateness_s: int = 86_400
    window_days: int = 92
    retired_topics: Collection[str] = ()
    by: str = ""


@dataclass(frozen=True, slots=True)
class CloseWorld:
    """Injected, so that tests decide what the time is, what a wait is, and where a close breaks off."""

    patience: Patience = field(default_factory=Patience)
    step: Callable[[str], None] = lambda _point: None
    progress: Progress = lambda _doing, _done, _total: None
    now_ms: Callable[[], int] = field(default=lambda: time.time_ns() // 1_000_000)
    accounts_a_statement: int = ACCOUNTS_A_STATEMENT
    log_ends: LogEnds | None = None
    """None: Kafka is not asked, so that partitions which no worker ever took are not known."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The close that the log has for the period, and whether this run made it."""

    close: Close
    ours: bool


def close_period(
    client: BillingClient,
    period: str,
    cards: Callable[[], Cards],
    rules: CloseRules = CloseRules(),
    world: CloseWorld = CloseWorld(),
) -> Outcome:
    """Close `period`, or find that it is closed. Safe to repeat, to kill anywhere, and to run beside others.

    Raises IncompleteError (try again later), PeriodError, AccountsError, LedgerShrankError, FreezeFailedError: nothing
    was closed. OutcomeUnknownError: run it again. And what the client raises where ClickHouse does not answer before
    the switch: nothing was closed.
    """
    first_day_of(period)  # raises for what names no period
    while True:
        closes = winning_closes(client)
        world.step("log_read")
        found = next((one for one in closes if one.period == period), None)
        if found is not None:
            return Outcome(found, ours=False)
        sweep(client, closes)
        world.step("swept")
        close_id = f"{period}/{secrets.token_hex(8)}"
        close = _attempt(client, period, closes, close_id, load_accounts(client), cards(), rules, world)
        if close is not None:
            return Outcome(close, ours=True)


def sweep(client: BillingClient, closes: Sequence[Close]) -> int:
    """Remove the rows of attempts that can't count any more; returns how many attempts there were."""
    if not closes:
        return 0
    parameters = {"newest": closes[-1].seq}
    dead = "seq <= {newest:UInt32} AND close_id NOT IN (SELECT close_id FROM billing_closes)"
    attempts = [f"SELECT DISTINCT '{table}', close_id FROM {table} WHERE {dead}" for table in FROZEN_TABLES]  # noqa: S608
    each = " UNION ALL ".join(attempts)
    rows = client.query(each, parameters=parameters, settings=READ_SETTINGS).result_rows
    for table in sorted({table for table, _ in rows}):
        _delete(client, table, sorted({name for of, name in rows if of == table}))
    return len({name for _, name in rows})


def _attempt(
    client: BillingClient,
    period: str,
    closes: Sequence[Close],
    close_id: str,
    accounts: Mapping[str, StoredAccount],
    cards: Cards,
    rules: CloseRules,
    world: CloseWorld,
) -> Close | None:
    """Freeze and switch once; None if a rival took the number."""
    scope = scope_of(client, period, accounts, cards, closes, rules.window_days)
    reach = read_reach(client, rules.retired_topics)
    if world.log_ends is not None:
        written = world.log_ends(reach.topics)
        retired = rules.retired_topics
        check_all_taken(reach, period, {at: end for at, end in written.items() if at[0] not in retired})
    check_complete(reach, period, scope.ends, rules.lateness_s)
    world.step("complete")
    seq = len(closes) + 1
    facts = reach_of_facts(client, reach.positions)
    freeze = Freeze(client, seq, close_id, period, tuple(close_ids(closes, scope.corrected)), scope.corrected, facts)
    try:
        counts, checksums = _freeze(freeze, scope, world)
    except (BillingError, KeyboardInterrupt) as error:
        # The switch was not sent, so nobody can ever read these rows. A kill leaves them to the sweep of a later close.
        _drop(client, close_id)
        if isinstance(error, BillingError) and CLOSE_LOG.newest(client)[0] >= seq:
            # A rival took the number and swept our rows away under our hands.
            return None
        raise
    close = Close(
        seq=seq,
        close_id=close_id,
        period=period,
        starts=scope.starts,
        ends=scope.ends,
        corrected=scope.corrected,
        accounts=len(scope.accounts),
        lateness_s=rules.lateness_s,
        watermark=reach.watermark,
        positions=reach.positions,
        cards=scope.cards,
        row_counts=counts,
        checksums=checksums,
        closed_by=rules.by,
        closed_at=datetime.fromtimestamp(world.now_ms() / 1000, UTC),
    )
    winner = CLOSE_LOG.append(client, seq, close.columns(), patience=world.patience, step=world.step)
    if winner == close_id:
        return close
    _drop(client, close_id)
    return None


def _freeze(freeze: Freeze, scope: Scope, world: CloseWorld) -> tuple[tuple[int, ...], tuple[int, ...]]:
    groups = [
        scope.accounts[begin : begin + world.accounts_a_statement]
        for begin in range(0, len(scope.accounts), world.accounts_a_statement)
    ]
    total = len(groups) + 6
    freeze.segments(scope.rows)
    world.step("segments_frozen")
    world.progress("survey", 0, total)
    columns = freeze.survey(scope.earliest, scope.ends, (scope.accounts[0], scope.accounts[len(scope.accounts) // 50]))
    world.step("surveyed")
    for number, group in enumerate(groups, 1):
        world.progress("usage", number, total)
        freeze.usage(columns, group[0], group[-1])
    world.step("usage_frozen")
    for number, (doing, statement, point) in enumerate(
        (
            ("seats, outcomes and jobs", freeze.facts, "facts_frozen"),
            ("adjustments", freeze.adjustments, "adjustments_frozen"),
            ("users and conversations", freeze.subjects, "subjects_frozen"),
        ),
        len(groups) + 1,
    ):
        world.progress(doing, number, total)
        statement()
        world.step(point)
    world.progress("usage that nobody pays for", total - 2, total)
    starts, ends, strangers = _strangers(scope)
    freeze.unbilled(starts, ends, strangers=strangers)
    world.step("unbilled_listed")
    world.progress("checking", total - 1, total)
    checked = freeze.check(len(scope.rows), columns)
    world.step("checked")
    return checked


def _strangers(scope: Scope) -> tuple[datetime, datetime, bool]:
    """Accounts that nobody applied have no time zone: a month of theirs is one in UTC, and they have no anniversary."""
    first = first_day_of(scope.period)
    after = PeriodRule().containing(first).after
    begin, end = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (first, after))
    return begin, end, len(scope.period) == 7


def _drop(client: BillingClient, close_id: str) -> None:
    for table in FROZEN_TABLES:
        _delete(client, table, [close_id])


def _delete(client: BillingClient, table: str, ids: Sequence[str]) -> None:
    """By name and without a subquery, which replicas would refuse in a mutation."""
    client.command(
        f"DELETE FROM {table} WHERE has({{ids:Array(String)}}, close_id)",  # noqa: S608
        parameters={"ids": list(ids)},
        settings=DELETE_SETTINGS,
    )
