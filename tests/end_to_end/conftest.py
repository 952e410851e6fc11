"""What the end-to-end tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def trace_file() -> Path:
    """Azure's public trace of 2023, conversations: FLEETMETER_TRACE, or in `shared/data` beside the clone."""
    default = Path(__file__).resolve().parents[3] / "shared" / "data" / "azure_llm_trace_2023_conv.csv"
    path = Path(os.environ.get("FLEETMETER_TRACE") or default)
    if not path.exists():
        pytest.skip(f"{path.name} is not there; give it with FLEETMETER_TRACE")
    return path
