"""What a person sees of a stack: what runs, where, and how far it has counted."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import urllib3
from clickhouse_connect.driver.exceptions import ClickHouseError
from fleetmeter_local import DaemonState, all_daemons
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fleetmeter_jobs.cli.clickhouse import connect
from fleetmeter_jobs.cli.exits import CommandError
from fleetmeter_jobs.cli.output import show
from fleetmeter_jobs.cli.stack.health import health_of
from fleetmeter_jobs.cli.stack.state import SUPERVISOR, is_ready, running_supervisor, source_of
from fleetmeter_jobs.settings import Settings

_ORDER: Final = (SUPERVISOR, "kafka", "clickhouse")


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the stack, or an engine elsewhere. `address` is what others need to reach it."""

    name: str
    state: str
    """up, counting, starting, waiting (its own words), down, or elsewhere."""
    ok: bool
    address: str
    pid: int | None
    restarts: int
    log: Path | None


@dataclass(frozen=True, slots=True)
class Counted:
    """The ledger's totals for the topic, and the time up to which all partitions have come."""

    records: int
    events_in: int
    accepted: int
    duplicates: int
    rejected: int
    watermark: datetime | None


@dataclass(frozen=True, slots=True)
class StackView:
    """The stack of a data folder, now. `counted` is None if ClickHouse does not answer."""

    data_dir: Path
    topic: str
    parts: tuple[Part, ...]
    counted: Counted | None

    @property
    def is_up(self) -> bool:
        """Whether a stack runs here, and all of it."""
        return any(part.name == SUPERVISOR for part in self.parts) and all(part.ok for part in self.parts)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "up": self.is_up,
            "data_dir": self.data_dir,
            "topic": self.topic,
            "parts": {part.name: {k: v for k, v in asdict(part).items() if k != "name"} for part in self.parts},
            "counted": None if self.counted is None else asdict(self.counted),
        }


def look(settings: Settings) -> StackView:
    """What runs in the settings' data folder. Never raises because something of it is down."""
    folder = settings.data_dir.absolute()
    parts = [_part(state) for state in all_daemons(folder)]
    supervisor = running_supervisor(folder)
    if supervisor is not None:
        addresses = {"kafka": settings.kafka_bootstrap, "clickhouse": settings.clickhouse_url}
        for name, address in addresses.items():
            source = source_of(supervisor, name)
            if source in {"given", "docker"}:
                parts.append(Part(name, source, ok=True, address=address, pid=None, restarts=0, log=None))
    parts.sort(key=lambda part: (_ORDER.index(part.name) if part.name in _ORDER else len(_ORDER), part.name))
    counted = _counted(settings) if any(p.name == "clickhouse" and p.ok for p in parts) else None
    return StackView(folder, settings.topic, tuple(parts), counted)


def render(view: StackView, *, footer: str = "") -> RenderableType:
    """The view for people."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("", "state", "address", "pid", "restarts"):
        table.add_column(column, justify="right" if column in {"pid", "restarts"} else "left", overflow="fold")
    for part in view.parts:
        state = Text(part.state, "green" if part.ok else "bold red")
        pid = "" if part.pid is None else str(part.pid)
        table.add_row(part.name, state, part.address, pid, str(part.restarts or ""))
    lines: list[RenderableType] = [table, Text(), _counted_line(view), Text(f"logs: {view.data_dir / 'logs'}", "dim")]
    if footer:
        lines.append(Text(footer, "dim"))
    return Group(*lines)


def _counted_line(view: StackView) -> Text:
    counted = view.counted
    if counted is None:
        return Text("ClickHouse does not tell how far counting has come.", "yellow")
    complete = "" if counted.watermark is None else f"; complete up to {show(counted.watermark)} UTC"
    return Text(
        f"{view.topic}: {counted.events_in:,} events in {counted.records:,} records: {counted.accepted:,} counted, "
        f"{counted.duplicates:,} duplicates, {counted.rejected:,} refused{complete}"
    )


def _part(state: DaemonState) -> Part:
    address, alive = state.address, state.is_alive()
    said, ok = ("up", True) if alive else ("down", False)
    if alive and state.name == SUPERVISOR:
        said, ok = ("up", True) if is_ready(state) else ("starting", False)
    elif alive and state.name.startswith("worker-"):
        said, ok = _worker_state(address.get("web"))
    where = address.get("bootstrap") or address.get("web") or ""
    if "host" in address:
        where = f"http://{address['host']}:{address['port']}"
    restarts = int(address.get("restarts", "0"))
    return Part(state.name, said, ok, where, state.identity.pid if alive else None, restarts, state.log_path)


def _worker_state(web: str | None) -> tuple[str, bool]:
    """The worker's own word, or the worst state of its partitions."""
    health = None if web is None else health_of(web)
    if health is None:
        return "starting", False
    if health.get("ready"):
        return f"counting {len(health['partitions'])} partitions", True
    troubled = {one["state"] for one in health["partitions"].values()} - {"counting"}
    return ", ".join(sorted(troubled)) or str(health["state"]), False


def _counted(settings: Settings) -> Counted | None:
    try:
        with connect(settings, database=settings.clickhouse_database) as client:
            sums = client.query(
                "SELECT sum(records), sum(events_in), sum(accepted), sum(duplicates), sum(rejected) "
                "FROM ingest_positions WHERE topic = {topic:String}",
                parameters={"topic": settings.topic},
            ).result_rows[0]
            watermark = client.query(
                "SELECT min(watermark) FROM usage_completeness WHERE topic = {topic:String} HAVING count() > 0",
                parameters={"topic": settings.topic},
            ).result_rows
    except (CommandError, ClickHouseError, urllib3.exceptions.HTTPError, OSError):
        return None  # it went away between the look and the question; the view says that it does not answer
    moment = watermark[0][0].replace(tzinfo=UTC) if watermark else None
    records, events_in, accepted, duplicates, rejected = map(int, sums)
    seen = moment if moment and moment.year > 1970 else None
    return Counted(records, events_in, accepted, duplicates, rejected, seen)
