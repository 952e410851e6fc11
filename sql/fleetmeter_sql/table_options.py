"""How the tables of one installation are made beyond what the migrations say: on replicas, and safe from power failure.

The migrations are the same for everybody; what differs is the engine's prefix, the `ON CLUSTER` of each statement, and
the settings that make ClickHouse wait for the disk. So that is rendered into the statements, and a migration's checksum
stays that of its file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from fleetmeter_sql.errors import TableOptionsError

_ENGINE: Final = re.compile(r"^ENGINE = (?P<kind>\w*MergeTree)(?:\((?P<arguments>[^)]*)\))?", re.MULTILINE)
_TARGET: Final = re.compile(
    r"\A(?P<what>CREATE DATABASE IF NOT EXISTS|CREATE TABLE IF NOT EXISTS|CREATE VIEW IF NOT EXISTS"
    r"|CREATE OR REPLACE VIEW|ALTER TABLE|DROP VIEW IF EXISTS) (?P<name>\w+)"
)
_WINDOW: Final = re.compile(r"\bnon_replicated_deduplication_window = (\d+)")
_WINDOW_S: Final = 7 * 24 * 3600
"""Keeper forgets tokens by age, too: as shipped after an hour, which a worker that was frozen outlives."""
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,126}")


@dataclass(frozen=True, slots=True)
class TableOptions:
    """What an installation wants of its tables. Raises TableOptionsError for what can't work."""

    fsync: bool = True
    """Each insert waits until the disk has it; see `durability`."""
    replicated_path: str = ""
    """Path of a table in Keeper, with `{table}` in it: the tables are Replicated*MergeTree. Empty: one server."""
    cluster: str = ""
    """Statements that make or change tables run on all servers of this cluster."""

    def __post_init__(self) -> None:
        if self.replicated_path and not (self.replicated_path.startswith("/") and "{table}" in self.replicated_path):
            raise TableOptionsError(
                f"{self.replicated_path!r} can't be the tables' path in Keeper: it begins with / and has {{table}} in "
                "it, or all tables would be one, such as /clickhouse/tables/{shard}/{database}/{table}"
            )
        if "'" in self.replicated_path or "\\" in self.replicated_path:
            raise TableOptionsError(f"{self.replicated_path!r} has a quote or a backslash in it")
        if self.cluster and not _PLAIN_NAME.fullmatch(self.cluster):
            raise TableOptionsError(f"{self.cluster!r} can't be the name of a cluster (system.clusters lists them)")

    def render(self, statement: str) -> str:
        """A migration's statement as it runs here."""
        if self.cluster:
            statement = _TARGET.sub(rf"\g<what> \g<name> ON CLUSTER '{self.cluster}'", statement, count=1)
        if self.replicated_path:
            statement = _ENGINE.sub(self._replicated, statement)
            statement = _WINDOW.sub(
                rf"replicated_deduplication_window = \1,\n    replicated_deduplication_window_seconds = {_WINDOW_S}",
                statement,
            )
        return statement

    def _replicated(self, engine: re.Match[str]) -> str:
        arguments = [f"'{self.replicated_path}'", "'{replica}'"]
        if given := (engine["arguments"] or "").strip():
            arguments.append(given)
        return f"ENGINE = Replicated{engine['kind']}({', '.join(arguments)})"
