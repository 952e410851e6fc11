"""The columns of `fleetmeter usage`: absent is not zero."""

from __future__ import annotations

from fleetmeter_jobs.cli.usage import reported


def test_a_measure_that_no_event_reported_is_no_zero() -> None:
    row = {"model": "mercury", "output_tokens": 0, "gpu_ms": 0, "gpu_ms_samples": 0, "blocks": 0, "blocks_samples": 3}
    assert [reported(row, name) for name in ("model", "output_tokens", "gpu_ms", "blocks")] == ["mercury", 0, None, 0]
