"""Producers as processes: one that can't go on is named."""

from pathlib import Path

import pytest
from fleetmeter_producers.errors import ClientSettingsError, LoadError
from fleetmeter_producers.load import LoadConfig, Progress, run_load


def test_a_producer_that_can_t_go_on_is_named_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    config = LoadConfig(events_per_s=10, duration_s=5, producers=1)
    with pytest.raises(LoadError, match="load-00 could not go on: ClientSettingsError: spool_dir"):
        run_load(config, "127.0.0.1:1", "t", spool_dir=tmp_path / "file")


def test_settings_that_no_client_takes_are_found_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ClientSettingsError, match="acks"):
        run_load(LoadConfig(), "127.0.0.1:1", "t", spool_dir=tmp_path, kafka={"acks": 1})


def test_ctrl_c_ends_the_emission_and_what_was_done_is_reported(tmp_path: Path) -> None:
    interrupts = iter([KeyboardInterrupt])

    def interrupt_once(now: Progress) -> None:
        if now.emitted and (interrupt := next(interrupts, None)):
            raise interrupt

    config = LoadConfig(events_per_s=200, duration_s=600, drain_s=0)
    report = run_load(config, "127.0.0.1:1", "t", spool_dir=tmp_path, show=interrupt_once)
    assert 0 < report.seconds < 60
    assert (report.delivered, report.left, report.ok) == (0, report.emitted, False)
    assert report.emitted > 0
