"""Processes whose coverage other tests show."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

_VARIABLES = ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")


@contextmanager
def unmeasured() -> Iterator[None]:
    """What is started in here is not measured: tracing would cost an embedded ClickHouse, which answers tens of
    thousands of small queries, a third more of processor time."""
    with patch.dict(os.environ):
        for name in _VARIABLES:
            os.environ.pop(name, None)
        yield
