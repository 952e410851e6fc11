"""A process that makes the invoices of November, and is killed at a point: `make_invoices.py URL DATABASE POINT`.

Points: `lines-N` and `heads-N` are before and after the N-th insert of lines, `after-N` after that of heads.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import clickhouse_connect
from fleetmeter_billing.invoices import store
from fleetmeter_billing.invoices.making import make_invoices, read_material
from fleetmeter_doubles.invoice_samples import card, cards

CARDS = cards(card())


def main(url: str, database: str, point: str) -> None:
    """Makes them, two to a block, until the point is reached."""
    client: Any = clickhouse_connect.get_client(dsn=f"{url}/{database}", autogenerate_session_id=False)
    insert, seen = client.raw_insert, {"billing_invoice_lines": 0, "billing_invoices": 0}

    def step(name: str) -> None:
        if name == point:
            os.kill(os.getpid(), signal.SIGKILL)

    def inserting(table: str, *arguments: Any, **options: Any) -> Any:
        seen[table] += 1
        kind = "lines" if table == "billing_invoice_lines" else "heads"
        step(f"{kind}-{seen[table]}")
        answer = insert(table, *arguments, **options)
        if kind == "heads":
            step(f"after-{seen[table]}")
        return answer

    client.raw_insert = inserting
    store.BLOCK = 2  # type: ignore[misc]
    material = read_material(client, "2026-11", CARDS)
    store.write_invoices(client, "2026-11", make_invoices(material, CARDS))


main(*sys.argv[1:])
