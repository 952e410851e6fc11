"""What went wrong between a client and ClickHouse, in one line, and what to do about it.

The libraries wrap the network's own word ("connection refused") into three errors of theirs, each repeating the one
inside; and ClickHouse's sentence comes with its address, its number twice, and its version. People need neither.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from typing import Final

_ADDRESS: Final = re.compile(r"(?:\((?:for url )?|ClickHouse at )(https?://[^\s()]+)")
_SENTENCE: Final = re.compile(r"DB::Exception: (.*?)(?: \(version [^)]*(?:\([^)]*\))?\)| \(for url |$)", re.DOTALL)
_NAMED: Final = re.compile(r"[.?]* (\([A-Z0-9_]+\))$")
_STRANGER: Final = re.compile(r"received HTTP status (\d{3})")
_LONGEST: Final = 240
"""A statement is longer, and ClickHouse repeats it; its query log has it."""

_MIGRATE: Final = "The tables are not those of this version: run `fleetmeter migrate`."
_LOGIN: Final = "Check FLEETMETER_CLICKHOUSE_USER and FLEETMETER_CLICKHOUSE_PASSWORD."
_RIGHTS: Final = (
    "Give the user the rights of sql/worker_grants.sql, or name one who has them with FLEETMETER_CLICKHOUSE_USER."
)
_ADVICE: Final = {
    10: _MIGRATE,
    16: _MIGRATE,
    47: _MIGRATE,
    60: _MIGRATE,
    81: "Run `fleetmeter migrate`, or name another database with FLEETMETER_CLICKHOUSE_DATABASE.",
    159: "It took longer than ClickHouse allows: try again, or raise max_execution_time in the user's profile.",
    164: _RIGHTS,
    192: _LOGIN,
    193: _LOGIN,
    194: _LOGIN,
    241: "ClickHouse needs more memory, or fewer queries at once.",
    242: "A replica has lost its Keeper: run it again when it has come back.",
    243: "Free space on ClickHouse's disk, and run it again.",
    252: "Merges don't keep up: let ClickHouse rest, and run it again.",
    497: _RIGHTS,
    516: _LOGIN,
}
_AWAY: Final = "Start one with `fleetmeter up`, or set FLEETMETER_CLICKHOUSE_URL."


def explain_refusal(error: BaseException, url: str | None = None) -> str:
    """One or two sentences about an error of clickhouse_connect, or of the network below it: what, where, what to do.

    The address is the client's own, which clickhouse_connect mostly repeats, unless `url` is given.
    """
    address = url or _address(error)
    where = f"ClickHouse at {address}" if address else "ClickHouse"
    code = getattr(error, "code", None)
    if code is None and (network := network_reason(error)) is not None:
        return f"{where} does not answer: {network}. {_AWAY}"
    said = reason_of(error)
    return f"{where} refuses: {said}{'' if said.endswith('?') else '.'} {_ADVICE.get(code or 0, '')}".rstrip()


def reason_of(error: BaseException) -> str:
    """What ClickHouse or the network said, in one line, without a full stop."""
    network = None if getattr(error, "code", None) is not None else network_reason(error)
    if network is not None:
        return network
    text = str(error)
    if (stranger := _STRANGER.search(text)) is not None and "DB::Exception" not in text:
        return f"HTTP {stranger[1]}; is that ClickHouse's address?"
    found = _SENTENCE.search(text)
    said = " ".join((found[1] if found else text.partition("\n")[0] or type(error).__name__).split())
    named = _NAMED.search(said)
    said = _NAMED.sub("", said)
    short = said if len(said) <= _LONGEST else f"{said[:_LONGEST].rstrip()} ..."
    return f"{short} {named[1]}" if named else short.rstrip(".?")


def network_reason(error: BaseException) -> str | None:
    """The network's own word, such as "connection refused"; None if ClickHouse was reached and answered."""
    for each in _causes(error):
        if isinstance(each, TimeoutError):
            return "timed out"
        if isinstance(each, ssl.SSLError):
            return f"no TLS there ({(each.reason or str(each)).lower().replace('_', ' ')})"
        if isinstance(each, OSError):
            return (each.strerror or str(each) or type(each).__name__).lower()
    for each in _causes(error):
        if type(each).__module__.startswith(("urllib3", "http.client")):
            return "it took too long" if "Timeout" in type(each).__name__ else "the connection broke"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what is behind it, outermost first."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def _address(error: BaseException) -> str | None:
    for each in _causes(error):
        if (found := _ADDRESS.search(str(each))) is not None:
            return found[1]
    return None
