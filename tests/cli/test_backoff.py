"""Waits before restarts."""

from __future__ import annotations

from fleetmeter_jobs.cli.stack.backoff import Backoff


def test_waits_double_up_to_a_limit_and_begin_anew_after_a_steady_run() -> None:
    backoff = Backoff()
    assert [backoff.next_wait_s(1.0) for _ in range(8)] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert backoff.next_wait_s(60.0) == 0.5
    assert backoff.next_wait_s(1.0) == 1.0
