"""A worker that was frozen reads what the broker said before; it must not take that for news."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from fleetmeter_jobs.transport import lean_fetcher
from fleetmeter_jobs.transport.lean_fetcher import LeanFetcher


def test_a_log_is_known_to_be_drained_when_the_broker_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr(lean_fetcher, "time", SimpleNamespace(time=lambda: now))

    async def send(_node: int, _request: Any) -> Any:
        nonlocal now
        now += 3600  # frozen, with the answer on its way
        partition: tuple[Any, ...] = (0, 0, 42, 42, 0, [], -1, b"")
        return SimpleNamespace(topics=[("usage", [partition])], API_VERSION=11)

    state = SimpleNamespace(has_valid_position=True, position=42, highwater=None, lso=None, timestamp=None)
    states = {TopicPartition("usage", 0): state}
    assignment = SimpleNamespace(active=True, state_value=states.__getitem__)
    request = SimpleNamespace(topics=[("usage", [(0, 42, 0)])])
    fetcher = SimpleNamespace(_client=SimpleNamespace(send=send), troubles={}, _on_partition_data=lambda *_: False)
    asyncio.run(LeanFetcher._proc_fetch_request(fetcher, assignment, 1, request))  # type: ignore[arg-type]
    assert (state.highwater, state.timestamp) == (42, 1_000_000)
