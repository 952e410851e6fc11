"""The views are compared with the ledger as it was at one moment, however busy workers are."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from fleetmeter_doubles.schema_copies import copy_schema
from fleetmeter_jobs.audit.derived import check_derived
from fleetmeter_jobs.ledger import ClickHouseHttp
from fleetmeter_local import RunningClickHouse

pytestmark = pytest.mark.clickhouse


class SlowServer(ClickHouseHttp):
    """Its profile lets the parts of a query look at a table one after the other, with time for commits between them."""

    def execute(self, statement: str, **options: Any) -> bytes:
        if statement.startswith("SELECT (SELECT"):
            profile = {"enable_shared_storage_snapshot_in_query": 0, "merge_tree_storage_snapshot_sleep_ms": 100}
            options["settings"] = {**profile, **options["settings"]}
        return super().execute(statement, **options)


def test_views_equal_a_ledger_that_grows_while_they_are_compared(
    clickhouse: RunningClickHouse, database: str, clickhouse_client: Client
) -> None:
    copy_schema(clickhouse_client, database)
    reader = SlowServer(clickhouse.url, clickhouse.user, clickhouse.password, database)
    writer = ClickHouseHttp(clickhouse.url, clickhouse.user, clickhouse.password, database)
    ended, begun = threading.Event(), threading.Event()

    def commit() -> None:
        columns = "row_kind, event_type, account_id, minute, requests, table_partition"
        for number in itertools.count(1):
            # Others each time: the ledger drops the same rows.
            values = f"('usage', 'generation', 'acme', 0, {number}, 197001)"
            writer.execute(f"INSERT INTO ledger ({columns}) VALUES {values}")
            begun.set()
            if ended.wait(0.03):
                break

    worker = threading.Thread(target=commit)
    worker.start()
    try:
        assert begun.wait(60)
        assert check_derived(reader, lambda _view: None).findings == ()
    finally:
        ended.set()
        worker.join()
