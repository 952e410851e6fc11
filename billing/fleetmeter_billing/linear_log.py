"""A log in ClickHouse to which one of several rivals adds the next row: how a close, or a publication, takes effect.

The row's number is one more than the newest. Adding it is a compare-and-swap of two halves, of which neither is enough:

- a *token* per log and number, with deduplication on: of any number of inserts, in any order, one gets in;
- a *guard*, evaluated when the statement starts: the newest number is still the one before. It stops an insert that
  comes when ClickHouse has forgotten the token.

What makes trying again safe:

    time-out, disconnect, any error  ->  the same token again.
    "done", and no row appeared      ->  a ghost (a token that was logged, whose part a crash or a full disk kept from
                                         appearing): the attempt, which is part of the token, is raised.

Only whoever was told "done" knows that the token is spent, so that no insert under it can still land.

On replicas the attempt is never raised: Keeper takes a token and its part in one step, so there are no ghosts, and
"done, and no row appeared" means a replica that lags behind another. It is waited for, under the same token.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from clickhouse_connect.driver.exceptions import ClickHouseError
from fleetmeter_sql.refusals import reason_of

from fleetmeter_billing.clickhouse import READ_SETTINGS, BillingClient, insert_settings
from fleetmeter_billing.errors import LogDamagedError, OutcomeUnknownError

_UNANSWERED: Final = (ClickHouseError, OSError)
"""What a client raises when a statement failed; whether it took effect is unknown."""

_KEPT_BY_KEEPER: Final = ("Replicated", "Shared")
"""How the engines begin whose parts and tokens are in Keeper: those of replicas, and those of ClickHouse's cloud."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long to try again, and how waiting is done."""

    failures: int = 8
    first_s: float = 0.2
    limit_s: float = 5.0
    sleep: Callable[[float], None] = field(default=time.sleep)

    def wait(self, failures: int) -> None:
        """Wait after so many failures in a row: doubling, and shortened at random so that rivals fall out of step."""
        longest = min(self.limit_s, self.first_s * 2.0 ** min(failures - 1, 20))
        self.sleep(longest * (1 - random.random() / 2))  # noqa: S311  (no secret)


@dataclass(frozen=True, slots=True)
class LinearLog:
    """One log: `table` has the columns `number` (UInt) and `name` (String, unique for each try to add a row).

    `key` narrows a table that holds many logs: the columns, with their ClickHouse types, that tell this one.
    """

    table: str
    number: str = "seq"
    name: str = "close_id"
    key: Mapping[str, tuple[str, object]] = field(default_factory=dict)

    def newest(self, client: BillingClient) -> tuple[int, str]:
        """Number and name of the newest row; (0, "") for an empty log. Raises LogDamagedError if there are two."""
        rows = client.query(
            f"SELECT {self.number}, {self.name} FROM {self.table} WHERE {self._condition()} "  # noqa: S608
            f"ORDER BY {self.number} DESC LIMIT 2",
            parameters=self._parameters(),
            settings=READ_SETTINGS,
        ).result_rows
        if len(rows) == 2 and rows[0][0] == rows[1][0]:
            raise LogDamagedError(
                f"{self.table} has two rows with {self.number} {rows[0][0]}: {rows[0][1]} and {rows[1][1]}. Nothing in "
                "fleetmeter writes that; find out who did before anything is billed"
            )
        return (int(rows[0][0]), str(rows[0][1])) if rows else (0, "")

    def named(self, client: BillingClient, number: int) -> str | None:
        """The name of the row with this number; None if there is none."""
        rows = client.query(
            f"SELECT {self.name} FROM {self.table} "  # noqa: S608
            f"WHERE {self._condition()} AND {self.number} = {{log_number:UInt64}}",
            parameters={**self._parameters(), "log_number": number},
            settings=READ_SETTINGS,
        ).result_rows
        if len(rows) > 1:
            raise LogDamagedError(f"{self.table} has {len(rows)} rows with {self.number} {number}")
        return str(rows[0][0]) if rows else None

    def append(
        self,
        client: BillingClient,
        number: int,
        columns: Mapping[str, tuple[str, object]],
        *,
        patience: Patience = Patience(),
        step: Callable[[str], None] = lambda _point: None,
    ) -> str:
        """Add row `number`, unless a rival has; returns the name of the row that has this number then.

        `columns` give every column but those of `key` and `number`: ClickHouse type and value. Their name must be new:
        the answer tells by it who won. `step` is told before and after each insert and read. Raises LogDamagedError
        where the row before is missing, and OutcomeUnknownError when ClickHouse did not answer for long: the row may be
        there or not, and may still land.
        """
        given = {**self.key, self.number: ("UInt32", number), **columns}
        statement = (
            f"INSERT INTO {self.table} ({', '.join(given)}) "  # noqa: S608
            f"SELECT {', '.join(f'{{{column}:{kind}}}' for column, (kind, _) in given.items())} "
            f"WHERE (SELECT max({self.number}) FROM {self.table} WHERE {self._condition()}) = {{log_before:UInt64}}"
        )
        parameters = {
            **{column: value for column, (_, value) in given.items()},
            **self._parameters(),
            "log_before": number - 1,
        }
        attempt = failures = 0
        while True:
            token = f"{self.table}/{'/'.join(str(value) for _, value in self.key.values())}@{number}#{attempt}"
            error: Exception | None = None
            step("before_insert")
            try:
                client.command(statement, parameters=parameters, settings=insert_settings(token))
            except _UNANSWERED as failed:
                error = failed
            step("after_insert")
            try:
                found = self.named(client, number)
                if found is None and error is None:
                    if self._may_be_ghost(client):
                        self._check_next(client, number)
                    else:
                        error = _lagging(self.table, number)
            except _UNANSWERED as failed:
                found, error = None, failed
            step("after_read_back")
            if found is not None:
                return found
            failures += 1
            if error is None:
                attempt += 1
            elif failures >= patience.failures:
                raise OutcomeUnknownError(
                    f"whether {self.table} took row {number} is not known: {reason_of(error)}. Run it again once "
                    "ClickHouse answers: it finds out, and nothing happens twice"
                ) from error
            patience.wait(failures)

    def _check_next(self, client: BillingClient, number: int) -> None:
        """Raises LogDamagedError if the row can never get in, since the one before it is not there: it would be tried
        for ever."""
        newest, _ = self.newest(client)
        if newest < number - 1:
            raise LogDamagedError(
                f"{self.table} ends at {self.number} {newest}, so that row {number} can't follow: rows are missing, or "
                "are there twice. Nothing in fleetmeter does that; find out who did before anything is billed"
            )

    def _may_be_ghost(self, client: BillingClient) -> bool:
        """Whether a token can be logged in this table whose part never appears: only where no Keeper has both."""
        ((engine,),) = client.query(
            "SELECT engine FROM system.tables WHERE database = currentDatabase() AND name = {log_table:String}",
            parameters={"log_table": self.table},
            settings=READ_SETTINGS,
        ).result_rows
        return not str(engine).startswith(_KEPT_BY_KEEPER)

    def _condition(self) -> str:
        return " AND ".join(f"{column} = {{log_{column}:{kind}}}" for column, (kind, _) in self.key.items()) or "1"

    def _parameters(self) -> dict[str, Any]:
        return {f"log_{column}": value for column, (_, value) in self.key.items()}


def _lagging(table: str, number: int) -> OSError:
    return OSError(
        f"the insert was answered as done, but the replica that is read does not have row {number} of {table} yet; "
        "system.replicas and system.replication_queue say what it waits for"
    )
