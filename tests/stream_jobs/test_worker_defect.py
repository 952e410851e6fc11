"""A worker that something unforeseen befalls says what it was, and does not end as if it had been told to; told to, it
ends, whatever it is doing."""

from __future__ import annotations

import asyncio
from contextlib import suppress

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


@pytest.mark.parametrize("reaches", [True, False])
async def test_told_to_stop_while_it_joins_it_waits_no_longer_than_it_may(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, reaches: bool
) -> None:
    joining, let_in = asyncio.Event(), asyncio.Event()

    async def start() -> None:
        joining.set()
        while not let_in.is_set():
            with suppress(asyncio.CancelledError):  # as aiokafka: nothing stops it
                await let_in.wait()

    limit_s = 300.0 if reaches else 0.1
    worker = Worker(Settings.load(kafka_bootstrap="127.0.0.1:1", shutdown_limit_s=limit_s))
    monkeypatch.setattr(worker._app, "start", start)
    join = asyncio.create_task(worker._join())
    await joining.wait()
    worker._told_to_stop.set()
    if reaches:
        let_in.set()
    assert (await join, worker.hanging) == (reaches, not reaches)
    assert ("let nobody join" in caplog.text) is not reaches
    let_in.set()
    worker._threads.close()


async def test_what_keeps_a_worker_from_joining_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    async def start() -> None:
        raise ZeroDivisionError("somewhere deep")

    worker = Worker(Settings.load(kafka_bootstrap="127.0.0.1:1"))
    monkeypatch.setattr(worker._app, "start", start)
    with pytest.raises(ZeroDivisionError, match="somewhere deep"):
        await worker._join()
    worker._threads.close()
