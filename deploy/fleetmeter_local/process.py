"""Processes that we start, find again later, and end for certain.

A pid alone names nothing for long: the system gives it to someone else once its process has ended. So a process is
known by its pid *and* the moment it started (`ProcessIdentity`), and no signal is sent before both were compared.

Two lives are possible:

- attached (the default): a watchdog holds the reading end of a pipe of ours. When we end in whatever way, kill -9
  included, the pipe closes and the watchdog kills the process: no orphans.
- detached: it outlives us, for `fleetmeter up --detach`; `state.py` remembers where it is.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fleetmeter_local.errors import EngineStopError

POLL_S = 0.02
KILL_GRACE_S = 10.0

_TROUBLE = re.compile(r"ERROR|FATAL|Exception|Error\b|Caused by|[Cc]annot ")
_TROUBLE_BYTES = 262_144

# Reads one line from the pipe. A line means that its owner ended the process itself; end-of-file means that the owner
# has died, and that the process (argument 1) has to go too.
_WATCHDOG = 'if read -r _; then exit 0; else kill -9 "$1" 2>/dev/null; fi'

# Prints the pid of a background process and ends, which hands that process over to init: a detached process must not
# stay our zombie when it ends before us. Its output goes to the log (our stderr) and not to the pipe, or we would wait
# for its end to read its pid.
_DETACH = '"$@" >&2 </dev/null & echo $!'


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process for all time: its pid, and when it started in the system's own words."""

    pid: int
    started: str

    def is_alive(self) -> bool:
        """True while this very process runs; a zombie and another process with its pid are not alive."""
        return start_of(self.pid) == self.started


def start_of(pid: int) -> str | None:
    """When the process with this pid started, in a form that only equality has a meaning for; None if there is none.

    On Linux the boot's id and the clock ticks since that boot; elsewhere what `ps` says, to the second.
    """
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The program's name stands in brackets and may itself hold brackets and blanks: count from the last one.
        fields = stat[stat.rindex(")") + 2 :].split()
        state, start_ticks = fields[0], fields[19]
        if state in "ZX":
            return None
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{start_ticks}"
    return _start_by_ps(pid)


def _start_by_ps(pid: int) -> str | None:
    done = subprocess.run(
        ["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False, env={"LC_ALL": "C"}
    )
    state, _, started = done.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else started.strip()


class ManagedProcess:
    """One process of ours: asked to stop, killed, or waited for, always by its identity.

    Not safe for use by several threads at once.
    """

    def __init__(
        self,
        name: str,
        identity: ProcessIdentity,
        log_path: Path,
        *,
        log_start: int = 0,
        popen: subprocess.Popen[bytes] | None = None,
        watchdog: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self.name = name
        self.identity = identity
        self.log_path = log_path
        self._log_start = log_start
        self._popen = popen
        self._watchdog = watchdog

    @property
    def pid(self) -> int:
        """The process's pid; it may have ended."""
        return self.identity.pid

    def trouble(self) -> str:
        """What its log says of a failure, for messages."""
        return trouble_in(self.log_path, self._log_start)

    def is_alive(self) -> bool:
        """True while the process runs. Reaps it if it is our own child and has ended."""
        if self._popen is None:
            return self.identity.is_alive()
        if self._popen.poll() is None:
            return True
        # From here on its pid may be given to someone else, whom the watchdog must not meet.
        self._release_watchdog()
        return False

    def exit_code(self) -> int | None:
        """The exit code of an ended child (negative: the signal that ended it); None if it runs or is not our child."""
        return self._popen.returncode if self._popen is not None and not self.is_alive() else None

    def wait(self, timeout_s: float) -> bool:
        """Waits until the process has ended; False if it still runs after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while self.is_alive():
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_S)
        return True

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, if and only if this very process still runs."""
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):  # it ended between the look and the signal
                os.kill(self.pid, number)

    def stop(self, timeout_s: float = 30.0) -> bool:
        """SIGTERM, then SIGKILL after `timeout_s`. True if the process ended by itself.

        Raises EngineStopError if it outlives even the kill (it hangs in the kernel).
        """
        self.signal(signal.SIGTERM)
        if self.wait(timeout_s):
            return True
        self.kill()
        return False

    def kill(self) -> None:
        """SIGKILL, and wait until the process is gone. Raises EngineStopError if it is still there after 10 s."""
        self.signal(signal.SIGKILL)
        if not self.wait(KILL_GRACE_S):
            raise EngineStopError(
                f"{self.name} (pid {self.pid}) is still there {KILL_GRACE_S:.0f} s after kill -9: it hangs in a system "
                f"call. See `cat /proc/{self.pid}/stack`, and stop it by hand."
            )

    def _release_watchdog(self) -> None:
        watchdog, self._watchdog = self._watchdog, None
        if watchdog is None or watchdog.stdin is None:
            return
        with contextlib.suppress(BrokenPipeError):  # the watchdog itself was killed
            watchdog.stdin.write(b"ended\n")
            watchdog.stdin.flush()
        with contextlib.suppress(BrokenPipeError):
            watchdog.stdin.close()
        watchdog.wait()


def start_process(
    name: str,
    argv: Sequence[str],
    *,
    log_path: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    detached: bool = False,
) -> ManagedProcess:
    """Starts `argv` in a session of its own (Ctrl-C in a terminal does not reach it), output appended to a log.

    Args:
        name: what messages call it.
        argv: program and arguments.
        log_path: file for stdout and stderr; its folder is made.
        env: the whole environment; ours if None.
        cwd: working folder; the log's folder if None.
        detached: outlive this process. Otherwise the process is killed when this one ends, however it ends.

    Raises FileNotFoundError if the program does not exist (attached; detached, it ends at once and the
    log says why).
    """
    log_path.parent.mkdir(parents=True, exist_ok=True)
    folder = cwd if cwd is not None else log_path.parent
    environment = dict(os.environ if env is None else env)
    log_start = size_of(log_path)
    with log_path.open("ab") as log:
        if detached:
            done = subprocess.run(
                ["/bin/sh", "-c", _DETACH, "sh", *argv],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                cwd=folder,
                start_new_session=True,
                check=True,
            )
            return ManagedProcess(name, _identify(int(done.stdout)), log_path, log_start=log_start)
        popen = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
    watchdog = subprocess.Popen(
        ["/bin/sh", "-c", _WATCHDOG, "fleetmeter-watchdog", str(popen.pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    return ManagedProcess(name, _identify(popen.pid), log_path, log_start=log_start, popen=popen, watchdog=watchdog)


def _identify(pid: int) -> ProcessIdentity:
    # A process that has already ended gets an identity that nothing alive can have.
    return ProcessIdentity(pid, start_of(pid) or "ended")


def size_of(log_path: Path) -> int:
    """Bytes of a log; 0 if it is not there."""
    return log_path.stat().st_size if log_path.exists() else 0


def trouble_in(log_path: Path, start: int = 0, lines: int = 20) -> str:
    """What a log says of a failure, for messages: its last lines that name an error, or if none does its last lines.

    Args:
        log_path: the log; it need not exist.
        start: the byte from which on it is this process's log.
        lines: how many lines at most.
    """
    size = size_of(log_path)
    if size <= start:
        return ""
    with log_path.open("rb") as log:
        log.seek(max(start, size - _TROUBLE_BYTES))
        written = log.read().decode(errors="replace").splitlines()
    told = [line for line in written if _TROUBLE.search(line)]
    return "\n".join((told or written)[-lines:])
