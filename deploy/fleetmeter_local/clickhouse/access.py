"""Who may ask, and what a read-only user may ask.

The engine's own `readonly` setting refuses writes. It is not enough: chDB lets a read-only session stop merges, kill
queries, describe any file and read any with the function `file` (a server confines that one to a folder). So what a
read-only user sends is also held against a list of reading statements and of harmless table functions. That relies on
reading the statement as the engine does: where the two could differ, it is refused. Settings can hold expressions, name
files, and choose another grammar: what could do so is refused, too.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlsplit

from fleetmeter_local.clickhouse.answers import ClickHouseError
from fleetmeter_local.clickhouse.statement import Statement
from fleetmeter_local.engines import ClickHouseUser

READING_STATEMENTS = frozenset(
    ("SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS", "FROM", "USE", "SET")
)

# Table functions that reach nothing beyond the database and the arguments. All others are refused to readers: they read
# files, sockets, or (eval) a statement that nobody has looked at.
_HARMLESS_TABLE_FUNCTIONS = frozenset(
    (
        "dictionary",
        "format",
        "generaterandom",
        "generate_series",
        "generateseries",
        "merge",
        "mergetreeindex",
        "mergetreeprojection",
        "null",
        "numbers",
        "numbers_mt",
        "primes",
        "sqlstandardvalues",
        "values",
        "view",
        "viewexplain",
        "viewifpermitted",
        "zeros",
        "zeros_mt",
    )
)

# Functions that read files or sockets. Refused wherever the name stands, since `arrayMap(file, ...)` calls it without a
# bracket behind it.
_AI = ("generate", "embed", "classify", "filter", "similarity", "redact", "translate", "extract")
_FORBIDDEN_NAMES = frozenset(("file", "catboostevaluate", *(f"ai{name}" for name in _AI)))

# Settings that make the engine read a file (or run a query) for an output format, or read statements another way.
_FORBIDDEN_SETTINGS = re.compile(r"format_schema.*|format_template_.*|dialect|polyglot_dialect")


class Users:
    """The users of one process, by name.

    Args:
        users: at least one.
        table_functions: every table function of the engine; those not known to be harmless are refused to readers.
    """

    def __init__(self, users: Sequence[ClickHouseUser], table_functions: Iterable[str]) -> None:
        self._by_name = {user.name: user for user in users}
        self._forbidden_calls = {name.lower() for name in table_functions} - _HARMLESS_TABLE_FUNCTIONS

    def authenticate(self, headers: Mapping[str, str], query: Mapping[str, str]) -> ClickHouseUser:
        """The user that a request speaks for.

        By `X-ClickHouse-User` and `-Key`, by basic auth, or by `user` and `password` in the URL; without any of them
        `default` without a password, as on a server. Raises ClickHouseError 516.
        """
        name, password = _credentials(headers, query)
        user = self._by_name.get(name)
        # Compared even for an unknown user, so that the time to answer tells nothing.
        matches = hmac.compare_digest(password.encode(), (user.password if user else "").encode())
        if user is None or not matches:
            raise ClickHouseError(
                516,
                "AUTHENTICATION_FAILED",
                f"{name}: Authentication failed: password is incorrect, or there is no user with such name.",
            )
        return user

    def refuse_what_readers_may_not(self, statement: Statement) -> None:
        """Raises ClickHouseError 164 (READONLY) for a statement that does anything but read the database."""
        if statement.inserts or (statement.kind and statement.kind not in READING_STATEMENTS):
            raise ClickHouseError(164, "READONLY", f"Cannot execute {statement.kind} query in readonly mode.")
        if statement.odd:
            raise ClickHouseError(
                164,
                "READONLY",
                "In readonly mode, heredocs, dollar signs, backslashes and characters beyond ASCII may stand only in "
                "quoted strings and names.",
            )
        forbidden = (statement.calls & self._forbidden_calls) | (statement.names & _FORBIDDEN_NAMES)
        if forbidden:
            raise ClickHouseError(
                164,
                "READONLY",
                f"Cannot use {', '.join(sorted(forbidden))} in readonly mode: it reaches beyond the database.",
            )

    def refuse_settings_readers_may_not_give(self, settings: Mapping[str, str]) -> None:
        """Raises ClickHouseError 164 (READONLY) for a setting that may reach beyond the database.

        Some are expressions (additional_result_filter): no value may hold a call.
        """
        for name, value in settings.items():
            if _FORBIDDEN_SETTINGS.fullmatch(name) or "(" in value:
                raise ClickHouseError(
                    164, "READONLY", f"Cannot set {name} so in readonly mode: it may reach beyond the database."
                )


def _credentials(headers: Mapping[str, str], query: Mapping[str, str]) -> tuple[str, str]:
    if "X-ClickHouse-User" in headers or "X-ClickHouse-Key" in headers:
        return headers.get("X-ClickHouse-User", "default"), headers.get("X-ClickHouse-Key", "")
    authorization = headers.get("Authorization", "")
    if authorization:
        scheme, _, encoded = authorization.partition(" ")
        if scheme.lower() != "basic":
            raise ClickHouseError(
                516,
                "AUTHENTICATION_FAILED",
                f"Invalid authentication: '{scheme}' HTTP Authorization scheme is not supported",
            )
        try:
            name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise ClickHouseError(
                516,
                "AUTHENTICATION_FAILED",
                "Invalid authentication: the Authorization header is not base64 of user:password",
            ) from error
        return name or "default", password
    return query.get("user", "default"), query.get("password", "")


def refuse_strangers(headers: Mapping[str, str]) -> None:
    """Keeps web pages out: any page in a browser on this machine can send requests to loopback.

    A page that had its own name resolve to 127.0.0.1 is known by its Host; one that posts across sites by its Origin or
    Sec-Fetch-Site. Raises ClickHouseError 497 (403).
    """
    host = headers.get("Host", "")
    if host and not _is_loopback(urlsplit(f"//{host}").hostname):
        raise ClickHouseError(
            497, "ACCESS_DENIED", f"This process serves loopback addresses only, not the host '{host}'."
        )
    origin = headers.get("Origin")
    foreign_origin = origin is not None and not _is_loopback(urlsplit(origin).hostname)
    if foreign_origin or headers.get("Sec-Fetch-Site") == "cross-site":
        raise ClickHouseError(497, "ACCESS_DENIED", "This process does not answer web pages of other sites.")


def _is_loopback(host: str | None) -> bool:
    if host is None:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
