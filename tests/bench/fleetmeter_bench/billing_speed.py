"""How long it takes to close a period and make its invoices: many accounts with twenty lines each, over millions of
rollup rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import clickhouse_connect
from fleetmeter_billing.accounts.account import Account, Subscriber, Subscription
from fleetmeter_billing.accounts.account_store import apply_accounts, load_accounts, plan_apply
from fleetmeter_billing.accounts.published import cards_of
from fleetmeter_billing.accounts.segments import Cards
from fleetmeter_billing.periods.close import CloseRules, CloseWorld, close_period
from fleetmeter_billing.rates.card import RateCard
from fleetmeter_billing.rates.store import Publisher, publish, published_cards
from fleetmeter_jobs.cli.invoice import cores, make_and_store
from fleetmeter_local import start_clickhouse
from fleetmeter_sql import migrate
from rich.table import Table

LINES = 20
ROWS_AN_ACCOUNT = 1_000
ROWS_A_STATEMENT = 2_000_000
_NO_TOKENS = {"deduplicate_insert": "disable", "deduplicate_insert_select": "disable"}
_FILL = """
INSERT INTO ledger (row_kind, event_type, account_id, minute, model, generation_mode, provider, placement, status,
    service_tier, region, usage_fidelity, context_band, steps_band, labels, topic, partition, table_partition, requests,
    input_tokens, output_tokens, denoising_steps, denoising_steps_samples, function_evaluations,
    function_evaluations_samples, matrix_gflop, matrix_gflop_samples, gpu_ms, gpu_ms_samples, latency_ms,
    latency_ms_samples)
WITH number AS n, intDiv(n, {rows_an_account:UInt64}) AS account, n % {rows_an_account:UInt64} AS i, i % 20 AS line
SELECT 'usage', 'generation', concat('account-', leftPad(toString(account), 6, '0')),
    toDateTime('2026-11-01 00:00:00', 'UTC') + toUInt32(i * intDiv(43190, {rows_an_account:UInt64})) * 60,
    concat('model-', toString(line % 5)), if(line % 2 = 0, 'diffusion', 'autoregressive'), 'own', 'cloud', 'ok',
    if(line < 10, 'standard', 'batch'), 'eu-central', 'measured', '0-8k', if(line % 2 = 0, '1-32', ''),
    concat('team=', toString(n % 3)), 't', n % 12, 202611, 3, n % 5000, n % 3000, n % 64, 3, n % 640, 3, n % 100000, 3,
    n % 7000, 3, n % 9000, 3
FROM numbers({first:UInt64}, {rows:UInt64})
"""


@dataclass
class BillingSpeed:
    """What was closed, and how long each step took, in seconds."""

    accounts: int
    rollup_rows: int
    frozen_rows: int = 0
    filled_s: float = 0.0
    close_s: float = 0.0
    invoices_s: float = 0.0
    invoices: int = 0
    lines: int = 0
    second_close_s: float = 0.0
    steps: dict[str, float] = field(default_factory=dict)


@contextmanager
def billed_store(folder: Path, accounts: int, rows_an_account: int, say: Callable[[str], None]) -> Iterator[Any]:
    """A ClickHouse with this many accounts and rows of usage in November 2026; yields a client."""
    with start_clickhouse(folder) as running:
        client = clickhouse_connect.get_client(
            host=running.host,
            port=running.port,
            username=running.user,
            password=running.password,
            send_receive_timeout=600,
            autogenerate_session_id=False,
        )
        client.command("DROP DATABASE IF EXISTS bench_billing SYNC")
        migrate(client, "bench_billing")
        client.database = "bench_billing"
        total = accounts * rows_an_account
        for first in range(0, total, ROWS_A_STATEMENT):
            say(f"Counting usage: {first:,} of {total:,} rows ...")
            rows = min(ROWS_A_STATEMENT, total - first)
            client.command(
                _FILL,
                parameters={"first": first, "rows": rows, "rows_an_account": rows_an_account},
                settings={**_NO_TOKENS, "max_insert_threads": 2},
            )
        mark(client, "2026-12-02 00:00:00")
        subscribers = [
            Subscriber(
                account=Account(account=f"account-{number:06}", currency="EUR"),
                subscriptions=(Subscription.model_validate({"from": date(2026, 1, 1), "card": "fleet"}),),
            )
            for number in range(accounts)
        ]
        publish(client, twenty_prices(), Publisher("bench"))
        say("Applying accounts ...")
        apply_accounts(client, subscribers, plan_apply(subscribers, load_accounts(client)), by="bench", at_ms=0)
        yield client
        client.command("DROP DATABASE bench_billing SYNC")
        client.close()


def mark(client: Any, watermark: str) -> None:
    """All partitions have come to `watermark`."""
    client.command(
        "INSERT INTO ledger (row_kind, topic, partition, table_partition, next_offset, commits, watermark) "
        "SELECT 'marker', 't', number, 202611, 1000000, 1, {watermark:DateTime64(6, 'UTC')} FROM numbers(12)",
        parameters={"watermark": watermark},
        settings=_NO_TOKENS,
    )


def billing_speed(folder: Path, accounts: int, rows_an_account: int, say: Callable[[str], None]) -> BillingSpeed:
    """Fill a store, close November, make its invoices, and close December, which compares November again."""
    speed = BillingSpeed(accounts, accounts * rows_an_account)
    begun = time.perf_counter()
    with billed_store(folder, accounts, rows_an_account, say) as client:
        speed.filled_s = time.perf_counter() - begun
        last = time.perf_counter()

        def step(point: str) -> None:
            nonlocal last
            now = time.perf_counter()
            speed.steps[point] = now - last
            last = now

        world = CloseWorld(step=step, progress=lambda doing, done, total: say(f"Closing: {doing} ({done}/{total}) ..."))
        rules = CloseRules(lateness_s=3600, by="bench")
        begun = last = time.perf_counter()
        close = close_period(client, "2026-11", partial(_cards, client), rules, world).close
        speed.close_s = time.perf_counter() - begun
        speed.frozen_rows = close.row_counts[1]
        say("Making invoices ...")
        begun = time.perf_counter()
        speed.invoices, _ = make_and_store(client, "2026-11", quiet=True, processes=cores())
        speed.invoices_s = time.perf_counter() - begun
        speed.lines = int(client.command("SELECT count() FROM billing_invoice_lines FINAL"))
        mark(client, "2027-01-02 00:00:00")
        say("Closing the next period ...")
        begun = time.perf_counter()
        close_period(client, "2026-12", partial(_cards, client), rules)
        speed.second_close_s = time.perf_counter() - begun
    return speed


def twenty_prices() -> RateCard:
    """Output tokens and forward passes of five models, each in two service tiers: a price each, half of them tiered."""
    meters, prices = {}, {}
    for model in range(LINES // 4):
        for tier in ("standard", "batch"):
            where = {"model": f"model-{model}", "service_tier": tier}
            of = f"model {model}, {tier}"
            meters[f"tokens_{model}_{tier}"] = {"measure": "output_tokens", "where": where}
            meters[f"passes_{model}_{tier}"] = {"measure": "function_evaluations", "where": where}
            prices[f"tokens_{model}_{tier}"] = {
                "label": f"Output tokens, {of}",
                "meter": f"tokens_{model}_{tier}",
                "unit": "tokens",
                "per": 1_000_000,
                "model": {
                    "type": "graduated",
                    "tiers": [{"up_to": 10_000, "amount": "12"}, {"up_to": 50_000, "amount": "10"}, {"amount": "8"}],
                },
            }
            prices[f"passes_{model}_{tier}"] = {
                "label": f"Forward passes, {of}",
                "meter": f"passes_{model}_{tier}",
                "unit": "passes",
                "per": 1_000,
                "model": {"type": "unit", "amount": "0.25"},
            }
    return RateCard.model_validate(
        {"card": "fleet", "currency": "EUR", "effective_from": "2026-01-01", "meters": meters, "prices": prices}
    )


def _cards(client: Any) -> Cards:
    return cards_of(published_cards(client))


def billing_table(speed: BillingSpeed) -> Table:
    """How long each step took."""
    title = (
        f"Closing and invoicing: {speed.accounts:,} accounts, {speed.rollup_rows:,} rows of rollups, {LINES} lines each"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("step")
    table.add_column("seconds", justify="right")
    for name, seconds in speed.steps.items():
        if seconds >= 0.05:
            table.add_row(f"  {name.replace('_', ' ')}", f"{seconds:.2f}")
    table.add_row("closed in all", f"{speed.close_s:.2f}")
    table.add_row(f"{speed.invoices:,} invoices with {speed.lines:,} lines made", f"{speed.invoices_s:.2f}")
    table.add_row("closed and invoiced", f"{speed.close_s + speed.invoices_s:.2f}")
    table.add_row("the next period, with this one compared again", f"{speed.second_close_s:.2f}")
    table.caption = f"{speed.frozen_rows:,} rows were frozen. The embedded ClickHouse runs on the same cores."
    return table
