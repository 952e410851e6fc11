"""Settings survive the way through a process's environment and through the supervisor's state file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fleetmeter_jobs.cli.options import settings_of_stack
from fleetmeter_jobs.cli.stack.environment import environment_of, given_settings
from fleetmeter_jobs.cli.stack.state import SUPERVISOR, is_ready, running_settings, source_of, supervisor_address
from fleetmeter_jobs.settings import Settings
from fleetmeter_local import DaemonState, ManagedProcess, ProcessIdentity, remember_daemon
from fleetmeter_local.process import start_of

GIVEN = {
    "topic": "usage.eu",
    "flush_interval_s": 0.25,
    "flush_events": 1234,
    "label_keys": ("team", "app"),
    "clickhouse_password": "hunter2",
    "log_format": "json",
}


def test_a_started_process_reads_the_same_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLEETMETER_HORIZON_DAYS", "20")
    settings = Settings.load(**GIVEN, data_dir=tmp_path)
    environment = environment_of(settings)
    assert environment["PATH"] == os.environ["PATH"]
    for name in [name for name in os.environ if name.startswith("FLEETMETER_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Settings.load() == settings
    assert Settings.load().horizon_days == 20


def test_secrets_do_not_get_into_the_state_file() -> None:
    assert "clickhouse_password" in given_settings(Settings.load(**GIVEN), secrets=True)
    assert "hunter2" not in str(given_settings(Settings.load(**GIVEN), secrets=False))


def pretend_supervisor(folder: Path, settings: Settings, *, pid: int) -> DaemonState:
    address = supervisor_address(
        given_settings(settings, secrets=False), workers=2, ready=True, sources={"kafka": "local"}
    )
    process = ManagedProcess(SUPERVISOR, ProcessIdentity(pid, start_of(pid) or "gone"), folder / "log")
    return remember_daemon(folder, process, address)


def test_commands_find_the_settings_of_the_stack_that_runs(tmp_path: Path) -> None:
    own = Settings.load(kafka_bootstrap="127.0.0.1:1234", topic="usage.eu", label_keys=("team",), data_dir=tmp_path)
    state = pretend_supervisor(tmp_path, own, pid=os.getpid())
    found = settings_of_stack(tmp_path, None)
    assert (found.kafka_bootstrap, found.topic, found.label_keys) == ("127.0.0.1:1234", "usage.eu", ("team",))
    assert settings_of_stack(tmp_path, ["topic=mine"]).topic == "mine"
    assert is_ready(state)
    assert source_of(state, "kafka") == "local"
    assert source_of(state, "clickhouse") is None


def test_a_stack_that_has_ended_lends_nothing(tmp_path: Path) -> None:
    pretend_supervisor(tmp_path, Settings.load(topic="usage.eu"), pid=2**22 + 1)
    assert running_settings(tmp_path) == {}
    assert settings_of_stack(tmp_path, None).topic == "fleetmeter.usage"
