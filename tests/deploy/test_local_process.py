"""Processes: identity by pid and start, attached and detached lives, stop and kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fleetmeter_local import EngineStopError, ManagedProcess, ProcessIdentity, process, start_process
from fleetmeter_local.process import size_of, start_of, trouble_in

DEADLINE_S = 60.0
SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
]


def _until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def log_path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "x.log"


def _says_up(log_path: Path) -> bool:
    return log_path.exists() and "up" in log_path.read_text()


def test_a_process_is_known_by_pid_and_start() -> None:
    mine = start_of(os.getpid())
    assert mine is not None
    assert ProcessIdentity(os.getpid(), mine).is_alive()
    assert not ProcessIdentity(os.getpid(), "another start").is_alive()  # a pid that someone else got


def test_ended_processes_and_zombies_are_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    identity = ProcessIdentity(child.pid, start_of(child.pid) or "gone already")
    _until(lambda: not identity.is_alive())  # a zombie now: nobody has waited for it
    child.wait()
    assert start_of(child.pid) is None


def test_ps_tells_the_same_where_there_is_no_proc() -> None:
    told = process._start_by_ps(os.getpid())
    assert told
    assert told == process._start_by_ps(os.getpid())
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert process._start_by_ps(child.pid) is None


def test_an_attached_process_is_stopped(log_path: Path) -> None:
    started = start_process("x", SLEEPER, log_path=log_path, env={**os.environ, "A": "1"})
    _until(lambda: _says_up(log_path))
    assert started.is_alive()
    assert started.exit_code() is None
    assert os.getsid(started.pid) == started.pid  # Ctrl-C in our terminal does not reach it
    assert started.stop()
    assert not started.is_alive()
    assert started.exit_code() == -signal.SIGTERM
    assert started.stop()  # twice is once


def test_a_process_that_ignores_sigterm_is_killed(log_path: Path) -> None:
    started = start_process("x", STUBBORN, log_path=log_path)
    _until(lambda: _says_up(log_path))
    assert not started.stop(timeout_s=0.2)
    assert started.exit_code() == -signal.SIGKILL


def test_a_process_that_outlives_kill_is_reported(log_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "KILL_GRACE_S", 0.1)
    # Ourselves under a name: alive, and signals are not sent for the sake of the test.
    hanging = ManagedProcess("hanging", ProcessIdentity(os.getpid(), start_of(os.getpid()) or ""), log_path)
    monkeypatch.setattr(hanging, "signal", lambda _number: None)
    with pytest.raises(EngineStopError, match=str(os.getpid())):
        hanging.kill()


def test_no_signal_goes_to_a_stranger_with_the_same_pid(log_path: Path) -> None:
    stranger = ManagedProcess("x", ProcessIdentity(os.getpid(), "another start"), log_path)
    stranger.signal(signal.SIGKILL)
    stranger.kill()
    assert stranger.stop()


def test_its_own_end_is_seen_and_its_code(log_path: Path) -> None:
    started = start_process("x", [sys.executable, "-c", "import sys; print('bye'); sys.exit(3)"], log_path=log_path)
    assert started.wait(DEADLINE_S)
    assert started.exit_code() == 3
    assert log_path.read_text() == "bye\n"


def test_a_program_that_does_not_exist_is_an_error(log_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        start_process("x", ["/does/not/exist"], log_path=log_path)


def test_a_detached_process_has_left_us(log_path: Path, tmp_path: Path) -> None:
    started = start_process("x", SLEEPER, log_path=log_path, cwd=tmp_path, detached=True)
    try:
        _until(lambda: _says_up(log_path))
        assert started.is_alive()
        parent = subprocess.run(
            ["ps", "-o", "ppid=", "-p", str(started.pid)], capture_output=True, text=True, check=True
        )
        assert int(parent.stdout) != os.getpid()
        again = ManagedProcess("x", started.identity, log_path)
        assert again.is_alive()
    finally:
        assert started.stop()
    assert not started.is_alive()


def test_a_detached_program_that_does_not_exist_tells_in_its_log(log_path: Path) -> None:
    started = start_process("x", ["/does/not/exist"], log_path=log_path, detached=True)
    _until(lambda: not started.is_alive())
    assert "/does/not/exist" in trouble_in(log_path)


def test_an_attached_process_dies_with_its_parent_even_on_kill_9(tmp_path: Path) -> None:
    script = (
        "import os, sys, pathlib; from fleetmeter_local import start_process;"
        "p = start_process('x', [sys.executable, '-c', 'import time; time.sleep(600)'],"
        " log_path=pathlib.Path(sys.argv[1]));"
        "print(p.pid, p.identity.started, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "log")], capture_output=True, text=True, check=False
    )
    pid, started = done.stdout.split()
    _until(lambda: not ProcessIdentity(int(pid), started).is_alive())


def test_a_stopped_process_has_no_watchdog_left(log_path: Path) -> None:
    started = start_process("x", SLEEPER, log_path=log_path)
    watchdog = started._watchdog
    assert watchdog is not None
    started.kill()
    assert watchdog.poll() == 0


def test_a_process_that_ended_by_itself_has_no_watchdog_left(log_path: Path) -> None:
    started = start_process("x", [sys.executable, "-c", ""], log_path=log_path)
    watchdog = started._watchdog
    assert watchdog is not None
    _until(lambda: not started.is_alive())
    assert watchdog.poll() == 0  # it would kill whoever has the pid when we end


def test_a_killed_watchdog_does_not_matter(log_path: Path) -> None:
    started = start_process("x", SLEEPER, log_path=log_path)
    watchdog = started._watchdog
    assert watchdog is not None
    watchdog.kill()
    watchdog.wait()
    assert started.stop()


def test_a_log_is_read_from_where_this_process_began(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert trouble_in(log) == ""
    log.write_text("ERROR of an earlier start\n")
    start = size_of(log)
    assert trouble_in(log, start) == ""
    with log.open("a") as file:
        file.writelines(f"line {number}\n" for number in range(30_000))
    assert trouble_in(log, start, 2) == "line 29998\nline 29999"


def test_lines_that_name_an_error_come_before_the_noise_after_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("fine\nERROR disk\njava.lang.Exception: x\nCaused by: y\n" + "shutting down\n" * 100)
    assert trouble_in(log) == "ERROR disk\njava.lang.Exception: x\nCaused by: y"
