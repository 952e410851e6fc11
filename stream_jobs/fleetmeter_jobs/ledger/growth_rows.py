"""Rows of `partition_growth`. They say what was planned and measured; what took effect, decisions say."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

import pyarrow as pa
from fleetmeter_schemas.tables import PARTITION_GROWTH

from fleetmeter_jobs.ledger.columns import arrow_type
from fleetmeter_jobs.ledger.store import GrowthStep, SideRows


def growth_rows(topic: str, step: GrowthStep) -> SideRows:
    """One step as a row."""
    row = {"topic": topic, **asdict(step), "at": datetime.fromtimestamp(step.at_ms / 1000, UTC)}
    columns = PARTITION_GROWTH.columns
    arrays = [pa.array([row[column.name]], arrow_type(column.clickhouse_type)) for column in columns]
    return SideRows(
        PARTITION_GROWTH.name, pa.RecordBatch.from_arrays(arrays, names=list(PARTITION_GROWTH.column_names))
    )
