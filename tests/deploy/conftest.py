"""An embedded ClickHouse whose coverage is measured, for the tests of just that."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fleetmeter_local import RunningClickHouse, start_clickhouse


@pytest.fixture(scope="session")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningClickHouse]:
    """Instead of the session's, which other tests share; used as that is."""
    with start_clickhouse(tmp_path_factory.mktemp("measured")) as running:
        yield running
