"""ClickHouse's HTTP protocol, as thin as it can be: one statement a request, explicit time-outs, no retries.

clickhouse-connect would retry by itself, hold sessions and scan large bodies as text; a commit must know exactly what
was sent, how often, and what came back.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

import orjson
import pyarrow as pa
import urllib3

from fleetmeter_jobs.ledger.errors import (
    LedgerError,
    StoreRejectedError,
    StoreUnavailableError,
    StoreUntrustedError,
)
from fleetmeter_jobs.ledger.http_connections import connection_pool

# Errors that stay until somebody changes tables, settings or this version. Every other code may pass, and so is waited
# for in place, with what was counted still in memory: a full disk (243), memory (241), too many parts (252), a replica
# without its Keeper (242), and also what an operator mends in ClickHouse alone: a read-only profile (164), a missing
# grant (497). An unknown code is taken to pass, since waiting loses nothing. Credentials (192-195, 516) are in this
# list although a rotation may pass: a worker that is started with wrong ones must say so and end. One that runs stops
# its partitions, and looks again now and then, as with everything in this list.
# Names: src/Common/ErrorCodes.cpp of ClickHouse.
_LASTING: Final = {
    6: "CANNOT_PARSE_TEXT",
    10: "NOT_FOUND_COLUMN_IN_BLOCK",
    16: "NO_SUCH_COLUMN_IN_TABLE",
    36: "BAD_ARGUMENTS",
    43: "ILLEGAL_TYPE_OF_ARGUMENT",
    46: "UNKNOWN_FUNCTION",
    47: "UNKNOWN_IDENTIFIER",
    50: "UNKNOWN_TYPE",
    53: "TYPE_MISMATCH",
    57: "TABLE_ALREADY_EXISTS",
    60: "UNKNOWN_TABLE",
    62: "SYNTAX_ERROR",
    70: "CANNOT_CONVERT_TYPE",
    73: "UNKNOWN_FORMAT",
    80: "INCORRECT_QUERY",
    81: "UNKNOWN_DATABASE",
    115: "UNKNOWN_SETTING",
    192: "UNKNOWN_USER",
    193: "WRONG_PASSWORD",
    194: "REQUIRED_PASSWORD",
    195: "IP_ADDRESS_NOT_ALLOWED",
    452: "SETTING_CONSTRAINT_VIOLATION",
    516: "AUTHENTICATION_FAILED",
}
_ADVICE: Final = {
    60: "Run `fleetmeter migrate`.",
    81: "Run `fleetmeter migrate`, or set FLEETMETER_CLICKHOUSE_DATABASE.",
    16: "Run `fleetmeter migrate`: the tables are not those of this version.",
    47: "Run `fleetmeter migrate`: the tables are not those of this version.",
    115: "ClickHouse 25.12 or newer is needed.",
    164: "Let the worker's user insert (its profile has readonly set), or give another FLEETMETER_CLICKHOUSE_USER.",
    241: "ClickHouse needs more memory, or fewer queries at once.",
    242: "The table's replica has lost its Keeper; ClickHouse comes back to it by itself once Keeper answers.",
    243: "Free space on ClickHouse's disk.",
    252: "Merges don't keep up: let ClickHouse rest, or raise FLEETMETER_FLUSH_INTERVAL_S.",
    497: "Give the user the rights of sql/worker_grants.sql.",
    516: "Check FLEETMETER_CLICKHOUSE_USER and FLEETMETER_CLICKHOUSE_PASSWORD.",
}
_CODE: Final = re.compile(rb"Code: (\d+)\.")
_MESSAGE_LIMIT: Final = 600


class ClickHouseHttp:
    """A ClickHouse server at an HTTP address. Thread-safe: each request takes a connection of its own from the pool.

    `connect_timeout_s` bounds the wait for a connection. `timeout_s` bounds the run of a statement: ClickHouse stops it
    then (`max_execution_time`); the client gives up `answer_margin_s` later, so that the server's word comes first.
    `tls` says whom an https address is trusted from; the system's authorities if None.
    """

    def __init__(
        self,
        url: str,
        user: str = "default",
        password: str = "",
        database: str = "fleetmeter",
        *,
        connect_timeout_s: float = 5.0,
        timeout_s: float = 60.0,
        answer_margin_s: float = 5.0,
        connections: int = 32,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.database = database
        self.timeout_s = timeout_s
        self._answer_margin_s = answer_margin_s
        self._headers = {"X-ClickHouse-User": user, "X-ClickHouse-Key": password, "User-Agent": "fleetmeter"}
        self._pool = connection_pool(connections, connect_timeout_s, tls)

    def execute(
        self,
        statement: str,
        *,
        parameters: Mapping[str, object] | None = None,
        settings: Mapping[str, str | int] | None = None,
        data: pa.Buffer | bytes | None = None,
        timeout_s: float | None = None,
    ) -> bytes:
        """Run one statement and return its whole answer.

        `parameters` are bound by ClickHouse to `{name:Type}`; `data` follows the statement, which then ends in
        `FORMAT ...`. Raises StoreUnavailableError (outcome unknown, may pass), StoreRejectedError or
        StoreUntrustedError (will not pass).
        """
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        patience_s = limit_s + self._answer_margin_s
        query = {
            "database": self.database,
            # The whole answer or an error, never a 200 with an exception behind half of the rows.
            "wait_end_of_query": 1,
            "max_execution_time": max(1, int(limit_s)),
            **(settings or {}),
            **{f"param_{name}": _parameter(value) for name, value in (parameters or {}).items()},
        }
        body = statement.encode() if data is None else b"".join((statement.encode(), b"\n", memoryview(data)))
        try:
            answer = self._pool.request(
                "POST",
                f"{self.url}/?{urlencode(query)}",
                body=body,
                headers=self._headers,
                # The server gives up first, at max_execution_time, and says so.
                timeout=urllib3.Timeout(connect=patience_s, read=patience_s),
                redirect=False,
            )
        except urllib3.exceptions.SSLError as error:
            cause = error.args[0] if error.args else error
            if isinstance(cause, ssl.SSLCertVerificationError):
                raise StoreUntrustedError(self.url, cause.verify_message) from error
            raise StoreUnavailableError(f"ClickHouse at {self.url} did not answer with TLS: {cause}") from error
        except urllib3.exceptions.HTTPError as error:
            raise StoreUnavailableError(f"ClickHouse at {self.url} did not answer: {error}") from error
        content = bytes(answer.data)
        code = answer.headers.get("X-ClickHouse-Exception-Code")
        if answer.status != 200 or code is not None:
            raise self._error(answer.status, code, content)
        if not _says_where_it_ends(answer.headers):
            raise StoreUnavailableError(f"ClickHouse at {self.url} did not answer: the answer's head breaks off")
        if not any(name.lower().startswith("x-clickhouse-") for name in answer.headers):
            # Side rows are not read back: a proxy's page, taken for "done", would lose them.
            raise StoreUnavailableError(
                f"{self.url} answers HTTP 200, but the answer does not come from ClickHouse: it has none of the "
                "X-ClickHouse-* headers. Does a proxy answer by itself, or take them out?"
            )
        return content

    def rows(
        self,
        statement: str,
        *,
        parameters: Mapping[str, object] | None = None,
        settings: Mapping[str, str | int] | None = None,
    ) -> list[list[Any]]:
        """The rows of a SELECT (without a FORMAT of its own), each a list of JSON values."""
        answer = self.execute(f"{statement}\nFORMAT JSONCompactEachRow", parameters=parameters, settings=settings)
        return [orjson.loads(line) for line in answer.splitlines()]

    def close(self) -> None:
        """Close the idle connections."""
        self._pool.clear()

    def _error(self, status: int, code_header: str | None, content: bytes) -> LedgerError:
        match = _CODE.search(content)
        code = int(code_header) if code_header and code_header.isdecimal() else int(match[1]) if match else 0
        text = content[:_MESSAGE_LIMIT].decode(errors="replace").strip()
        advice = _ADVICE.get(code, "")
        if code in _LASTING:
            return StoreRejectedError(
                f"ClickHouse at {self.url} refuses ({code} {_LASTING[code]}): {text} {advice}".rstrip(), code
            )
        if not code and status in {401, 403, 404}:
            return StoreRejectedError(f"{self.url} answers HTTP {status}: {text}; is that ClickHouse's address?", code)
        return StoreUnavailableError(
            f"ClickHouse at {self.url} answers HTTP {status}, code {code}: {text} {advice}".rstrip()
        )


def _says_where_it_ends(headers: Mapping[str, str]) -> bool:
    """A connection that is lost within the head leaves a head without this, for which `http.client` takes the lost
    connection for the end of an empty answer: "there is no position". With it, whatever is missing is an error."""
    return headers.get("Content-Length", "").isdecimal() or headers.get("Transfer-Encoding", "").lower() == "chunked"


def _parameter(value: object) -> str:
    """A value as ClickHouse reads parameters: escaped as in TSV."""
    return str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
