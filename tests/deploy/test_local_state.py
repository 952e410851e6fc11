"""What is remembered of daemons, one start a folder, readiness, ports, prerequisites."""

from __future__ import annotations

import importlib.metadata
import os
import socket
import sys
import threading
from pathlib import Path

import pytest
from fleetmeter_local import (
    AlreadyRunningError,
    DaemonState,
    EngineStartError,
    LocalError,
    ManagedProcess,
    PrerequisiteError,
    ProcessIdentity,
    all_daemons,
    check_prerequisites,
    daemon_state,
    forget_daemon,
    ports,
    remember_daemon,
    start_process,
    stop_daemon,
)
from fleetmeter_local.local import Started, await_ready, locked, start_local
from fleetmeter_local.prerequisites import check_chdb, check_java, check_maven, require

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]


def _sleeper(data_dir: Path, name: str = "x") -> ManagedProcess:
    return start_process(name, SLEEPER, log_path=data_dir / "logs" / f"{name}.log")


def test_a_daemon_is_remembered_stopped_and_forgotten(tmp_path: Path) -> None:
    process = _sleeper(tmp_path, "worker-1")
    state = remember_daemon(tmp_path, process, {"web_port": "1"})
    assert state == DaemonState("worker-1", process.identity, process.log_path, {"web_port": "1"})
    assert daemon_state(tmp_path, "worker-1") == state
    assert all_daemons(tmp_path) == [state]
    assert state.is_alive()
    assert stop_daemon(tmp_path, "worker-1")
    assert not process.is_alive()
    assert all_daemons(tmp_path) == []
    assert not stop_daemon(tmp_path, "worker-1")


def test_a_daemon_that_died_is_known_as_dead(tmp_path: Path) -> None:
    process = _sleeper(tmp_path)
    remember_daemon(tmp_path, process, {})
    process.kill()
    state = daemon_state(tmp_path, "x")
    assert state is not None
    assert not state.is_alive()
    assert not stop_daemon(tmp_path, "x")  # it did not run; it is forgotten all the same
    assert daemon_state(tmp_path, "x") is None


def test_a_pid_that_someone_else_got_is_left_alone(tmp_path: Path) -> None:
    ours = ManagedProcess("x", ProcessIdentity(os.getpid(), "before the reboot"), tmp_path / "log")
    remember_daemon(tmp_path, ours, {})
    assert not stop_daemon(tmp_path, "x")  # and the test goes on: no signal was sent to it


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"name": "x", "pid": "many"}', '{"name":'])
def test_a_damaged_state_names_its_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "x.json").write_text(text)
    with pytest.raises(LocalError, match=r"x\.json is not a daemon's state") as caught:
        daemon_state(tmp_path, "x")
    assert caught.value.domain == "input"  # a sentence of the command, and no stack trace


def test_forgetting_what_was_never_known_is_fine(tmp_path: Path) -> None:
    forget_daemon(tmp_path, "x")
    assert daemon_state(tmp_path, "x") is None
    assert all_daemons(tmp_path) == []


def test_one_engine_of_a_name_a_folder(tmp_path: Path) -> None:
    starts: list[int | None] = []

    def start(port: int | None) -> Started:
        starts.append(port)
        return Started(_sleeper(tmp_path), {"port": str(port or 7), "password": "secret"})

    lifecycle = start_local(tmp_path, "x", None, start)
    try:
        with pytest.raises(AlreadyRunningError, match="port 7") as caught:
            start_local(tmp_path, "x", 8, start)
        assert "secret" not in str(caught.value)
        with pytest.raises(AlreadyRunningError):
            lifecycle.restart()
        first = lifecycle.pid
        lifecycle.kill()
        assert not lifecycle.is_alive()
        lifecycle.restart()
        assert lifecycle.pid != first
        assert starts == [None, 7]  # the same port again
    finally:
        lifecycle.stop(5)
    assert daemon_state(tmp_path, "x") is None


def test_a_port_comes_back_unless_someone_else_has_it(tmp_path: Path) -> None:
    first = ports.free_port()
    asked: list[int | None] = []

    def start(port: int | None) -> Started:
        asked.append(port)
        return Started(_sleeper(tmp_path), {"port": str(port or first)})

    for _ in range(2):
        start_local(tmp_path, "x", None, start).stop(5)
    with ports.bind_loopback(first):
        start_local(tmp_path, "x", None, start).stop(5)
    (tmp_path / "run" / "x.port").write_text("odd")
    start_local(tmp_path, "x", None, start).stop(5)
    assert asked == [None, first, None, None]


def test_stopping_does_not_forget_a_successor(tmp_path: Path) -> None:
    lifecycle = start_local(tmp_path, "x", 1, lambda _port: Started(_sleeper(tmp_path), {"port": "1"}))
    lifecycle.kill()
    successor = start_local(tmp_path, "x", 1, lambda _port: Started(_sleeper(tmp_path), {"port": "1"}))
    lifecycle.stop(5)
    state = daemon_state(tmp_path, "x")
    assert state is not None
    assert state.identity.pid == successor.pid
    successor.stop(5)


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with locked(tmp_path / "lock"):
            order.append("second")

    thread = threading.Thread(target=second)
    with locked(tmp_path / "lock"):
        thread.start()
        thread.join(0.3)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_a_start_that_fails_shows_the_log_and_the_way_out(tmp_path: Path) -> None:
    failing = [sys.executable, "-c", "import sys; print('no such disk'); sys.exit(3)"]
    process = start_process("engine", failing, log_path=tmp_path / "log")
    with pytest.raises(EngineStartError) as caught:
        await_ready(process, lambda: None, timeout_s=20, advice="Buy a disk.", domain="kafka")
    message = str(caught.value)
    for part in ("engine did not start", "exit code 3", "Buy a disk.", str(tmp_path / "log"), "    no such disk"):
        assert part in message
    assert (caught.value.domain, caught.value.retryable) == ("kafka", False)


def test_a_start_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    process = _sleeper(tmp_path)
    with pytest.raises(EngineStartError, match=r"did not answer within 0\.1 s"):
        await_ready(process, lambda: None, timeout_s=0.1, advice="Wait.", domain="kafka")
    assert not process.is_alive()


def test_an_interrupted_start_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    process = _sleeper(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        await_ready(process, interrupted, timeout_s=10, advice="", domain="kafka")
    assert not process.is_alive()


def test_free_ports_are_outside_the_range_of_outgoing_connections() -> None:
    with ports.bind_loopback() as sock:
        port = sock.getsockname()[1]
        assert 20_000 <= port < 32_768
        with pytest.raises(OSError, match=f"port {port}"):
            ports.bind_loopback(port)
    with ports.bind_loopback(port):
        pass


def test_the_search_for_a_free_port_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(ports._random, "randint", lambda _first, _last: taken.getsockname()[1])
        with pytest.raises(OSError, match="no free port"):
            ports.free_port()


def _program(folder: Path, name: str, output: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\nprintf '%s\\n' '{output}' >&2\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("output", "ok", "found"),
    [
        ('openjdk version "17.0.15" 2025-04-15', True, "17.0.15"),
        ('openjdk version "21" 2023-09-19', True, "21"),
        ('openjdk version "24-ea" 2025-03-18', True, "24-ea"),
        ('java version "1.8.0_401"', False, "1.8.0_401"),
        ('openjdk version "11.0.2"', False, "11.0.2"),
        ("No Java runtime present", False, "No Java runtime present"),
    ],
)
def test_java_has_to_be_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, ok: bool, found: str
) -> None:
    _program(tmp_path, "java", output)
    monkeypatch.setenv("PATH", str(tmp_path))
    java = check_java()
    assert (java.ok, java.found) == (ok, found)
    assert "17" in java.how_to_get


def test_what_is_missing_is_named_with_a_way_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    java, maven = check_java(), check_maven()
    assert (java.ok, java.found, maven.ok, maven.found) == (False, "not found", False, "not found")
    with pytest.raises(PrerequisiteError) as caught:
        require(java, maven, check_chdb())
    assert len(str(caught.value).splitlines()) == 2
    assert "local Kafka needs java (not found). Install a Java runtime" in str(caught.value)


@pytest.mark.parametrize(
    ("output", "ok", "found"),
    [("Apache Maven 3.8.7", True, "3.8.7"), ("broken", False, "broken"), ("", False, "no version")],
)
def test_maven_is_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, ok: bool, found: str
) -> None:
    _program(tmp_path, "mvn", output)
    monkeypatch.setenv("PATH", str(tmp_path))
    maven = check_maven()
    assert (maven.ok, maven.found) == (ok, found)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "aiohttp":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(importlib.metadata, "version", version)
    chdb = check_chdb()
    assert (chdb.ok, chdb.found) == (False, "aiohttp not found")
    assert "fleetmeter[local]" in chdb.how_to_get


def test_all_prerequisites_are_listed() -> None:
    assert [each.name for each in check_prerequisites()] == ["java", "mvn", "chdb"]
