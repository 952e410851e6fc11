"""A migrated database for the invoices' tests, emptied for each of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fleetmeter_doubles.billing_store import emptied, new_store
from fleetmeter_doubles.counted_usage import CountedUsage
from fleetmeter_local import RunningClickHouse


@pytest.fixture(scope="module")
def module_store(clickhouse: RunningClickHouse) -> Iterator[CountedUsage]:
    """A database with this build's schema, which the module's tests share."""
    with new_store(clickhouse) as store:
        yield store


@pytest.fixture
def counted(module_store: CountedUsage) -> CountedUsage:
    """Nothing counted yet, nothing closed, nobody billed."""
    return emptied(module_store)
