"""Ways to break the commit protocol on purpose: a campaign that can't fail proves nothing.

Each takes one safeguard out of a worker process, in memory.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from importlib import import_module
from itertools import count
from typing import Any, Final

from fleetmeter_jobs.ledger.clickhouse_store import ClickHouseStore
from fleetmeter_jobs.ledger.commit import Commit
from fleetmeter_jobs.ledger.position import Counts, Position

commit_module = import_module("fleetmeter_jobs.ledger.commit")
"""As a module: the package has a function of the same name."""
counted_log_module = import_module("fleetmeter_jobs.counted_log")


@dataclass(frozen=True, slots=True)
class Mutation:
    """One safeguard less."""

    what: str
    apply: Callable[[], None]
    because: str
    """A pattern of what is found to be wrong then: workers that only die of it prove nothing."""
    needs: str = ""
    """What a plan has to have for the safeguard to matter; the name of its field."""

    def explains(self, problems: list[str]) -> bool:
        """Whether these problems are there for want of the safeguard."""
        return any(re.search(self.because, problem) for problem in problems)


def replace_name(owner: Any, name: str, by: Any) -> Any:
    """What stood there before."""
    before = getattr(owner, name)
    setattr(owner, name, by)
    return before


def _without_guard() -> None:
    replace_name(ClickHouseStore, "_condition", lambda _self, _guard: ("1", {}))


def _without_token() -> None:
    def careless(self: ClickHouseStore, rows: Any, guard: Any, token: str) -> None:
        # Two hash keys would stop everything before anything is counted twice.
        beginning = _change_of(token).endswith("@init")
        insert(self, rows, guard, token if beginning else f"{token}!{secrets.token_hex(8)}")

    insert = replace_name(ClickHouseStore, "insert", careless)


def _without_attempt_rule() -> None:
    """Every further insert of a commit gets the next attempt, whether or not the one before was answered."""

    def hasty(store: Any, rows: Any, guard: Any, token_of: Any, *rest: Any) -> Any:
        attempts = count()
        return swap(store, rows, guard, lambda _attempt: token_of(next(attempts)), *rest)

    swap = replace_name(commit_module, "compare_and_swap", hasty)


def _without_read_back() -> None:
    """An insert that was answered is taken for a commit of ours."""
    answered = set[str]()

    def remembering(self: ClickHouseStore, rows: Any, guard: Any, token: str) -> None:
        insert(self, rows, guard, token)
        answered.add(_change_of(token))

    def trusting(store: Any, flush: Commit) -> Position:
        if _change_of(flush.token(0)) not in answered:
            position: Position = read(store, flush)
            return position
        before = flush.previous
        totals = {each.name: getattr(before.totals, each.name) for each in fields(Counts)}
        added = Counts(**{name: total + getattr(flush.counts, name) for name, total in totals.items()})
        return replace(before, next_offset=flush.next_offset, tail=flush.tail, totals=added)

    insert = replace_name(ClickHouseStore, "insert", remembering)
    read = replace_name(commit_module, "_read_position", trusting)


def _change_of(token: str) -> str:
    """The token without its attempt."""
    return token.rpartition("#")[0]


def _without_tail_check() -> None:
    replace_name(counted_log_module, "check_log", lambda *_args: None)


_TWICE = "counted twice|must be"
_GHOST_BELIEVED = "but a commit had ended at"

MUTATIONS: Final = {
    "guard": Mutation("inserts are let in wherever the position is", _without_guard, _TWICE, needs="window"),
    "token": Mutation("each insert has a token of its own", _without_token, _TWICE),
    "attempt": Mutation("the attempt is raised after errors too", _without_attempt_rule, _TWICE),
    "read-back": Mutation("an answered insert counts as committed", _without_read_back, f"{_TWICE}|{_GHOST_BELIEVED}"),
    "tail": Mutation(
        "the log is not compared with the ledger's tail at the start",
        _without_tail_check,
        "count the new log on",
        needs="recreate",
    ),
}
