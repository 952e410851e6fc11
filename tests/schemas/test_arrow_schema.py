"""The Arrow schemas that producers use are ones that the contract accepts."""

from typing import Any

import pyarrow as pa
import pytest
from contract_vectors.vector import APPEND_TIME_US
from fleetmeter_reference.aggregator import Reference
from fleetmeter_schemas import EVENT_TYPES, EventData
from fleetmeter_schemas.arrow import TYPE_KEY, arrow_schema
from fleetmeter_schemas.fields import field_table

MODELS = list(EVENT_TYPES.values())
EXAMPLES: dict[str, dict[str, Any]] = {
    "generation": {"model": "m", "generation_mode": "diffusion", "labels": '{"team": "a"}', "gpu_ms": 2**40},
    "fallback": {"model": "m", "fallback_reason": "timeout"},
    "device_report": {"kind": "download", "installation": "i", "model": "m", "period_start": APPEND_TIME_US},
    "outcome": {"name": "ticket_resolved", "quantity": 1},
    "job": {"kind": "evaluation", "base_model": "m"},
    "adjustment": {"meter": "output_tokens", "quantity": -5, "reason": "r", "effective_time": APPEND_TIME_US},
}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.SHORT)
def test_columns(model: type[EventData]) -> None:
    schema = arrow_schema(model)
    assert schema.names == ["id", "source", "subject", "time", *(spec.name for spec in field_table(model))]
    assert schema.metadata == {TYPE_KEY: model.TYPE.encode()}
    required = {"id", "source", "subject", "time"} | {spec.name for spec in field_table(model) if spec.required}
    assert {field.name for field in schema if not field.nullable} == required


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.SHORT)
def test_a_stream_of_it_is_counted(model: type[EventData]) -> None:
    schema = arrow_schema(model)
    row = {"id": "e-1", "source": "/gpu", "subject": "acme", "time": APPEND_TIME_US, **EXAMPLES[model.SHORT]}
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_pylist([row], schema=schema))
    answer = Reference().ingest([sink.getvalue().to_pybytes()], 0, APPEND_TIME_US)
    assert answer.rejections == []
    assert answer.counters.accepted == 1
