"""What an HTTP request asks of the engine, in the engine's terms."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fleetmeter_local.clickhouse.answers import ClickHouseError

# Parameters of ClickHouse's HTTP interface that are not settings of the engine.
_NOT_SETTINGS = frozenset(
    (
        "query",
        "database",
        "default_format",
        "query_id",
        "user",
        "password",
        "quota_key",
        # Sessions live for one request here: SET and temporary tables are not remembered.
        "session_id",
        "session_timeout",
        "session_check",
        "close_session",
        # Results are complete before the answer begins, so that an error always has its status.
        "wait_end_of_query",
        "buffer_size",
        "stacktrace",
        "client_protocol_version",
        "compress",
        "decompress",
    )
)
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked besides the statement itself.

    Attributes:
        query_id: the client's, or a new one.
        database: where names without a database are looked up.
        default_format: for answers of statements without a FORMAT.
        settings: the engine's settings, as text.
        parameters: values of `{name:Type}`, in ClickHouse's escaped text form.
        readonly: "0", "1" (a read-only user) or "2" (a GET request), as the engine's setting of this name.
        protocol_revision: the client's `client_protocol_version`; 0 if it names none.
    """

    query_id: str
    database: str = "default"
    default_format: str = "TabSeparated"
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    readonly: str = "0"
    protocol_revision: int = 0

    @property
    def comment(self) -> str:
        """The log_comment under which the engine runs it and finds it again: the id, before what the client gave."""
        given = self.settings.get("log_comment")
        return f"{self.query_id}: {given}" if given else self.query_id


def read_job(query: Iterable[tuple[str, str]], headers: Mapping[str, str], *, reader: bool, changes: bool) -> Job:
    """The job of a request.

    Args:
        query: parameters of the URL, and of a form, in their order; of a repeated one the last counts.
        headers: the request's.
        reader: the user is read-only.
        changes: the method may change things (POST, PUT); a GET may not.

    Raises ClickHouseError for what cannot be honoured: native compression of blocks, roles, bad setting names, a change
    of `readonly` by a read-only user.
    """
    values = dict(query)
    settings: dict[str, str] = {}
    parameters: dict[str, str] = {}
    for name, value in values.items():
        if name.startswith("param_"):
            parameters[name.removeprefix("param_")] = value
        elif name == "role":
            raise ClickHouseError(
                511, "UNKNOWN_ROLE", f"There is no role `{value}`: the embedded ClickHouse has no roles."
            )
        elif name in ("compress", "decompress"):
            if value not in ("", "0", "false"):
                raise ClickHouseError(
                    48,
                    "NOT_IMPLEMENTED",
                    f"{name}=1 (ClickHouse's own block compression) is not supported by the embedded ClickHouse: use "
                    "Content-Encoding and Accept-Encoding.",
                )
        elif name not in _NOT_SETTINGS:
            if not _SETTING.match(name):
                raise ClickHouseError(115, "UNKNOWN_SETTING", f"Unknown setting '{name}'.")
            settings[name] = value
    least = "1" if reader else "0" if changes else "2"
    readonly = settings.pop("readonly", least)
    if least != "0" and readonly not in ("1", "2"):
        raise ClickHouseError(164, "READONLY", "Cannot modify 'readonly' setting in readonly mode.")
    return Job(
        query_id=values.get("query_id") or headers.get("X-ClickHouse-Query-Id") or str(uuid.uuid4()),
        database=values.get("database") or headers.get("X-ClickHouse-Database") or "default",
        default_format=values.get("default_format") or headers.get("X-ClickHouse-Format") or "TabSeparated",
        settings=settings,
        parameters=parameters,
        readonly="1" if reader else readonly,
        protocol_revision=int(revision) if (revision := values.get("client_protocol_version", "")).isdecimal() else 0,
    )
