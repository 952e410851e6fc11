"""What is known of the stack of a data folder, for the commands that talk to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fleetmeter_local import DaemonState, daemon_state, find_clickhouse, find_kafka

SUPERVISOR: Final = "supervisor"
_SETTING: Final = "setting."
_SOURCE: Final = "source."


def supervisor_address(
    settings: Mapping[str, str], *, workers: int, ready: bool, sources: Mapping[str, str]
) -> dict[str, str]:
    """What the supervisor's state file says: whether all is up, the number of workers, where the engines come from,
    and the stack's settings (no secrets)."""
    return {
        "ready": "yes" if ready else "no",
        "workers": str(workers),
        **{f"{_SOURCE}{name}": value for name, value in sources.items()},
        **{f"{_SETTING}{name}": value for name, value in settings.items() if name != "data_dir"},
    }


def running_supervisor(data_dir: Path) -> DaemonState | None:
    """The supervisor that runs in this folder now."""
    state = daemon_state(data_dir, SUPERVISOR)
    return state if state is not None and state.is_alive() else None


def is_ready(supervisor: DaemonState) -> bool:
    """Whether everything that the supervisor was asked to start was up once."""
    return supervisor.address.get("ready") == "yes"


def source_of(supervisor: DaemonState, engine: str) -> str | None:
    """Where an engine comes from (given, local, docker); None if it is not up yet."""
    return supervisor.address.get(f"{_SOURCE}{engine}")


def running_settings(data_dir: Path) -> dict[str, str]:
    """Settings of what runs in this folder: of the whole stack, or the addresses of single engines (`fleetmeter
    local`). Empty if nothing runs."""
    supervisor = running_supervisor(data_dir)
    if supervisor is not None:
        return {
            name.removeprefix(_SETTING): value
            for name, value in supervisor.address.items()
            if name.startswith(_SETTING)
        }
    found = {}
    if kafka := find_kafka(data_dir):
        found["kafka_bootstrap"] = kafka.bootstrap
    if clickhouse := find_clickhouse(data_dir):
        found |= {"clickhouse_url": clickhouse.url, "clickhouse_user": clickhouse.user}
        found |= {"clickhouse_password": clickhouse.password} if clickhouse.password else {}
    return found
