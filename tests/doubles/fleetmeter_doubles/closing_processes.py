"""Closes in processes of their own, killed with SIGKILL at a named step, and what must hold afterwards."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.process import BaseProcess

from clickhouse_connect.driver.client import Client
from fleetmeter_billing.periods.close import CloseRules, CloseWorld, close_period
from fleetmeter_billing.periods.close_log import FROZEN_TABLES, close_ids, winning_closes

from fleetmeter_doubles.counted_usage import one_card

DEADLINE_S = 60.0
RULES = CloseRules(lateness_s=0, window_days=365, by="test")
MEASURES = ("requests", "output_tokens", "function_evaluations")


def start_closing(make_client: Callable[[], Client], period: str, kill_at: str = "") -> BaseProcess:
    """A process that closes `period` with a client of its own, and is killed when it comes to `kill_at`."""

    def step(point: str) -> None:
        if point == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def run() -> None:
        try:
            close_period(make_client(), period, one_card, RULES, CloseWorld(step=step, accounts_a_statement=2))
        except BaseException:  # noqa: BLE001  (whatever it is, nothing of the test's own process must run on here)
            os._exit(1)
        os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    return process


def exit_code(process: BaseProcess) -> int | None:
    """Waits for it."""
    process.join(DEADLINE_S)
    if process.exitcode is None:
        process.kill()
        process.join(DEADLINE_S)
    return process.exitcode


def check_frozen_is_live(client: Client) -> None:
    """By account and month: what counts as frozen is what the views have, to the unit, in every closed period."""
    closed = winning_closes(client)
    sums = ", ".join(f"sum({name})" for name in MEASURES)
    live = client.query(
        f"SELECT account_id, formatDateTime(minute, '%Y-%m') AS month, {sums} FROM usage_minutes "
        "WHERE has({periods:Array(String)}, month) GROUP BY account_id, month",
        parameters={"periods": [one.period for one in closed]},
    ).result_rows
    frozen = client.query(
        f"SELECT account_id, usage_period, {sums} FROM billing_frozen_usage "
        "WHERE has({closed:Array(String)}, close_id) GROUP BY account_id, usage_period",
        parameters={"closed": close_ids(closed)},
    ).result_rows
    assert _by_key(frozen) == _by_key(live)
    facts = client.query(
        "SELECT uniqExact(source, event_id), count() FROM billing_frozen_facts "
        "WHERE has({closed:Array(String)}, close_id)",
        parameters={"closed": close_ids(closed)},
    ).result_rows
    counted = client.query("SELECT count() FROM usage_facts FINAL").result_rows
    assert facts == [(counted[0][0], counted[0][0])]


def _by_key(rows: list[tuple[object, ...]]) -> dict[tuple[object, ...], tuple[object, ...]]:
    return {row[:2]: row[2:] for row in rows}


def strays(client: Client) -> set[str]:
    """close_ids that froze something and don't count."""
    closed = close_ids(winning_closes(client))
    found = " UNION DISTINCT ".join(f"SELECT DISTINCT close_id FROM {table}" for table in FROZEN_TABLES)
    return {name for (name,) in client.query(found).result_rows} - set(closed)
