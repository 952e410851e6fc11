"""A table for `LinearLog`, in memory: it takes tokens and guards as ClickHouse does, and fails as it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

Fate = Literal["", "ghost", "lost", "landed", "late"]
"""What befalls an insert: nothing; its token is logged and no row appears; or it has no answer, and did not take
effect, did, or does so later."""


@dataclass(frozen=True)
class Answer:
    """What a query returns."""

    result_rows: list[tuple[Any, ...]]
    column_names: tuple[str, ...] = ()


@dataclass
class LogTable:
    """Rows by number, as (number, name)."""

    rows: list[tuple[int, str]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    late: list[tuple[str, int, str]] = field(default_factory=list)
    fates: Iterator[Fate] = field(default_factory=lambda: iter(()))
    before_insert: Callable[[], None] = lambda: None
    inserts: list[str] = field(default_factory=list)
    engine: str = "MergeTree"
    lagging: int = 0
    """So many reads do not see the rows yet, as on a replica that is behind."""

    def command(self, statement: str, /, *, parameters: Any = None, settings: Any = None, **_: Any) -> object:
        self.before_insert()
        token, number, name = settings["insert_deduplication_token"], parameters["seq"], parameters["close_id"]
        self.inserts.append(token)
        fate = next(self.fates, "")
        passed = max((one for one, _ in self.rows), default=0) == parameters["log_before"]
        if fate == "late" and passed:
            self.late.append((token, number, name))
        if fate in {"lost", "late"}:
            raise OSError("no answer")
        if passed:
            self._take(token, number, name, appears=fate != "ghost")
        if fate == "landed":
            raise OSError("no answer")
        return None

    def land(self) -> None:
        """What was on its way arrives: its guard was looked at when it began."""
        for one in self.late:
            self._take(*one, appears=True)
        self.late.clear()

    def query(self, statement: str, /, *, parameters: Any = None, **_: Any) -> Answer:
        if "system.tables" in statement:
            return Answer([(self.engine,)])
        if self.lagging and self.rows:
            self.lagging -= 1
            return Answer([])
        if "ORDER BY" in statement:
            return Answer(sorted(self.rows, reverse=True)[:2])
        return Answer([(name,) for number, name in self.rows if number == parameters["log_number"]])

    def raw_insert(self, *_: Any, **__: Any) -> object:
        raise NotImplementedError

    def _take(self, token: str, number: int, name: str, *, appears: bool) -> None:
        if token in self.tokens:
            return
        self.tokens.add(token)
        if appears:
            self.rows.append((number, name))
