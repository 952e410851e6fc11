"""How the answer of an aggregator is held against a vector's outcomes."""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol

from contract_vectors.vector import APPEND_TIME_US, Counted, Duplicate, Refusal, Vector
from fleetmeter_reference.aggregator import Flush, Ingested
from fleetmeter_schemas.native_spec import ledger_dimensions, ledger_measures


class Aggregator(Protocol):
    """What the reference and the native core have in common."""

    def ingest(self, values: list[bytes | None], base_offset: int, append_time_us: int, /) -> Ingested:
        """Judge and count records."""

    def flush(self) -> Flush:
        """Hand out the deltas."""


def check_vector(vector: Vector, aggregator: Aggregator) -> None:
    """Assert that the aggregator, which has seen nothing yet, answers as the vector says."""
    answer = aggregator.ingest([vector.record], 7, APPEND_TIME_US)
    refusals = {(r.record, r.event): Refusal(r.code, r.field) for r in answer.rejections}
    expected = {(0, i): outcome for i, outcome in enumerate(vector.outcomes) if isinstance(outcome, Refusal)}
    assert refusals == expected
    kinds = Counter(type(outcome) for outcome in vector.outcomes)
    counters = answer.counters
    assert (counters.events_in, counters.accepted, counters.duplicates, counters.rejected) == (
        len(vector.outcomes),
        kinds[Counted],
        kinds[Duplicate],
        kinds[Refusal],
    )
    counted = [outcome for outcome in vector.outcomes if isinstance(outcome, Counted)]
    assert counters.unknown_fields == sum(outcome.unknown_fields for outcome in counted)
    assert counters.overflowed_labels == sum(outcome.values.get("labels") == "__other__" for outcome in counted)
    flush = aggregator.flush()
    assert flush.counters == counters
    _check_rows(counted, flush)


def _check_rows(counted: list[Counted], flush: Flush) -> None:
    """Dimensions stand together in some row; of a measure, all rows together hold what the outcomes name."""
    rows = [_row(key, group.sums) for key, group in flush.usage.items()]
    for outcome in counted:
        dimensions = {name: value for name, value in outcome.values.items() if name not in ledger_measures()}
        assert any(dimensions.items() <= row.items() for row in rows) or not dimensions, f"{dimensions} not in {rows}"
    for name in ledger_measures():
        named = [outcome.values[name] for outcome in counted if name in outcome.values]
        if named:
            assert sum(row[name] for row in rows) == sum(named), name
    assert all((group.first_offset, group.next_offset) == (7, 8) for group in flush.usage.values())


def _row(key: tuple[Any, ...], sums: dict[str, int]) -> dict[str, Any]:
    event_type, account_id, minute, *dimensions = key
    return {
        "event_type": event_type,
        "account_id": account_id,
        "minute": minute,
        **dict(zip(ledger_dimensions(), dimensions, strict=True)),
        **{name: sums.get(name, 0) for name in ledger_measures()},
    }
