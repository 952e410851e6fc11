"""Whether what a close froze is still what it was."""

from __future__ import annotations

from fleetmeter_billing.clickhouse import BillingClient
from fleetmeter_billing.periods.close_log import FROZEN_TABLES, Close
from fleetmeter_billing.periods.freeze import frozen_sum


def altered_tables(client: BillingClient, close: Close) -> list[str]:
    """The tables whose rows under this close differ, in number or content, from what the log says of them."""
    return [
        table
        for table, count, checksum in zip(FROZEN_TABLES, close.row_counts, close.checksums, strict=True)
        if frozen_sum(client, table, close.close_id)[:2] != (count, checksum)
    ]
