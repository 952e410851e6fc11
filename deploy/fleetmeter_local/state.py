"""Where the daemons of one data folder are: one small JSON file each in `data_dir/run`.

A file is written in one step (a rename) after its process has answered, and names the process by pid and start, so
that a file left by a crash or a reboot is seen to be stale instead of naming a stranger.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleetmeter_local.errors import LocalError
from fleetmeter_local.files import write_whole
from fleetmeter_local.process import ManagedProcess, ProcessIdentity


@dataclass(frozen=True, slots=True)
class DaemonState:
    """A daemon as it was when it had started.

    Attributes:
        name: "kafka", "clickhouse", "worker-1", ...
        identity: pid and start.
        log_path: where it logs.
        address: what others need to reach it, by name (`bootstrap`, `url`, `web_port`, ...).
    """

    name: str
    identity: ProcessIdentity
    log_path: Path
    address: Mapping[str, str]

    def is_alive(self) -> bool:
        """True while this very process runs."""
        return self.identity.is_alive()

    def process(self) -> ManagedProcess:
        """A handle to stop or kill it."""
        return ManagedProcess(self.name, self.identity, self.log_path)


def run_dir(data_dir: Path) -> Path:
    """The folder of the state files."""
    return data_dir / "run"


def remember_daemon(data_dir: Path, process: ManagedProcess, address: Mapping[str, str]) -> DaemonState:
    """Writes the state file of a daemon that has started; replaces an older one of the same name."""
    state = DaemonState(process.name, process.identity, process.log_path, dict(address))
    document = {
        "name": state.name,
        "pid": state.identity.pid,
        "started": state.identity.started,
        "log_path": str(state.log_path),
        "address": dict(state.address),
    }
    write_whole(run_dir(data_dir) / f"{state.name}.json", json.dumps(document, indent=2) + "\n")
    return state


def daemon_state(data_dir: Path, name: str) -> DaemonState | None:
    """What is known of a daemon, alive or not; None if it was never started or has been forgotten.

    Raises LocalError if the file is damaged.
    """
    path = run_dir(data_dir) / f"{name}.json"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        document = json.loads(text)
        return DaemonState(
            name=str(document["name"]),
            identity=ProcessIdentity(int(document["pid"]), str(document["started"])),
            log_path=Path(document["log_path"]),
            address={str(key): str(value) for key, value in document["address"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LocalError(
            f"{path} is not a daemon's state ({error!r}). "
            f"See with `ps` whether {name} still runs, stop it, and delete the file.",
            domain="input",
        ) from error


def all_daemons(data_dir: Path) -> list[DaemonState]:
    """Every daemon with a state file, by name, alive or not."""
    names = sorted(path.stem for path in run_dir(data_dir).glob("*.json"))
    return [state for name in names if (state := daemon_state(data_dir, name)) is not None]


def forget_daemon(data_dir: Path, name: str) -> None:
    """Deletes the state file, if there is one."""
    (run_dir(data_dir) / f"{name}.json").unlink(missing_ok=True)


def stop_daemon(data_dir: Path, name: str, timeout_s: float = 30.0) -> bool:
    """Stops a daemon if it runs, and forgets it. True if it ran.

    Raises EngineStopError if it cannot be ended; then it is not forgotten.
    """
    state = daemon_state(data_dir, name)
    if state is None:
        return False
    ran = state.is_alive()
    state.process().stop(timeout_s)
    forget_daemon(data_dir, name)
    return ran
