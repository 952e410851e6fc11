"""A worker that something unforeseen befalls says what it was, and does not end as if it had been told to."""

from __future__ import annotations

import asyncio

import pytest
from fleetmeter_jobs.settings import Settings
from fleetmeter_jobs.worker import EXIT_CLEAN, EXIT_FAILED, Worker


@pytest.mark.parametrize("fails", [True, False])
async def test_what_ends_the_watch_over_the_topic_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, fails: bool
) -> None:
    async def watch() -> None:
        if fails:
            raise ZeroDivisionError("somewhere deep")

    async def for_ever() -> None:
        await asyncio.Event().wait()

    async def nothing() -> None: ...

    worker = Worker(Settings.load(kafka_bootstrap="127.0.0.1:1"))
    monkeypatch.setattr(worker, "_watch_topic", watch)
    monkeypatch.setattr(worker._app, "wait_until_stopped", for_ever)
    monkeypatch.setattr(worker._app, "stop", nothing)
    assert await worker._until_over() == "the topic can't be watched any more"
    assert await worker._stop() == (EXIT_FAILED if fails else EXIT_CLEAN)
    assert ("somewhere deep" in caplog.text) is fails
    worker._threads.close()
