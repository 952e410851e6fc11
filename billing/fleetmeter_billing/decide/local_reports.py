"""Whether what devices report voluntarily can be true. Estimates are never charged; this is about believing them.

Text that is generated token by token needs the active weights once a token, so that a device generates at most

    memory bandwidth / bytes of the active weights  *  time that it computed      (rounded up)

tokens (the roofline argument, arXiv:2402.16363). The bandwidth is the report's own, the weights are the catalogue's,
and where the device did not say how long it computed, the whole period is taken. Models that generate in parallel give
several tokens a pass, how many depends on their settings, so that their reports are not bounded so. A device that makes
its bandwidth up is not found out by this.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from fleetmeter_schemas.catalogue import Catalogue

from fleetmeter_billing.clickhouse import READ_SETTINGS, BillingClient, in_utc

_BYTES_PER_MB: Final = 1_000_000
_MS_PER_S: Final = 1_000
_COUNTS: Final = ("queries", "input_tokens", "output_tokens")


@dataclass(frozen=True, slots=True)
class Told:
    """A quantity as it was told: the device's own count, and its bounds; None where it said nothing."""

    value: int | None = None
    lower: int | None = None
    upper: int | None = None

    @property
    def least(self) -> int | None:
        """What it says at least."""
        return self.value if self.lower is None else self.lower


@dataclass(frozen=True, slots=True)
class LocalReport:
    """One estimate of one device and model."""

    account: str
    source: str
    event_id: str
    time: datetime
    period_hash: str
    start: datetime | None
    end: datetime | None
    model: str
    quantization: str
    device_class: str
    active_ms: int | None = None
    memory_bandwidth_mbps: int | None = None
    queries: Told = field(default_factory=Told)
    input_tokens: Told = field(default_factory=Told)
    output_tokens: Told = field(default_factory=Told)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`unbounded`: nothing is wrong with it, and nothing is known that its tokens could be held against."""

    report: LocalReport
    state: Literal["plausible", "unbounded", "implausible"]
    reasons: tuple[str, ...]


def judge(reports: Iterable[LocalReport], catalogue: Catalogue) -> list[Verdict]:
    """A verdict on each report, in their order. Reports of one device and model that overlap are all but the earliest
    implausible: the same time would be told twice. Pure."""
    listed = list(reports)
    twice = _overlapping(listed)
    verdicts = []
    for place, report in enumerate(listed):
        reasons = [*_reasons(report, catalogue), *([twice[place]] if place in twice else [])]
        bounded = most_output_tokens(report, catalogue) is not None
        state: Literal["plausible", "unbounded", "implausible"] = "plausible" if bounded else "unbounded"
        verdicts.append(Verdict(report, "implausible" if reasons else state, tuple(reasons)))
    return verdicts


def most_output_tokens(report: LocalReport, catalogue: Catalogue) -> int | None:
    """Tokens that the device can have generated at most; None if report or catalogue don't tell."""
    entry = catalogue.find(report.model)
    if entry is None or entry.generation_mode != "autoregressive" or report.memory_bandwidth_mbps is None:
        return None
    weights = entry.weight_bytes(report.quantization)
    time_ms = report.active_ms if report.active_ms is not None else _length_ms(report)
    if weights is None or entry.parameters is None or time_ms is None:
        return None
    per_token = weights * (entry.active_parameters or entry.parameters) // entry.parameters
    return -(-report.memory_bandwidth_mbps * _BYTES_PER_MB * time_ms // (per_token * _MS_PER_S))


def _reasons(report: LocalReport, catalogue: Catalogue) -> list[str]:
    reasons = []
    length = _length_ms(report)
    if length is not None and report.active_ms is not None and report.active_ms > length:
        reasons.append(f"computed for {report.active_ms:,} ms in a period of {length:,} ms")
    for name in _COUNTS:
        told: Told = getattr(report, name)
        low, high = told.lower, told.upper
        if low is not None and high is not None and low > high:
            reasons.append(f"{name}: at least {low:,}, and at most {high:,}")
        elif told.value is not None and not (low or 0) <= told.value <= (told.value if high is None else high):
            reasons.append(f"{name}: {told.value:,} is not between its own bounds")
    most, least = most_output_tokens(report, catalogue), report.output_tokens.least
    if most is not None and least is not None and least > most:
        reasons.append(f"{least:,} output tokens; {report.model} on such a device generates at most {most:,}")
    return reasons


def _overlapping(reports: Sequence[LocalReport]) -> dict[int, str]:
    found: dict[int, str] = {}
    order = sorted(
        (place for place, one in enumerate(reports) if one.period_hash and one.start is not None),
        key=lambda place: (_device(reports[place]), reports[place].start, reports[place].time, reports[place].event_id),
    )
    reached: tuple[tuple[str, ...], datetime, str] | None = None
    for place in order:
        one = reports[place]
        if one.start is None or one.end is None:
            continue
        if reached and reached[0] == _device(one) and one.start < reached[1]:
            found[place] = f"its period overlaps that of {reached[2]}"
            reached = (reached[0], max(reached[1], one.end), reached[2])
        else:
            reached = (_device(one), one.end, one.event_id)
    return found


def _device(report: LocalReport) -> tuple[str, ...]:
    return report.account, report.period_hash, report.model, report.quantization


def _length_ms(report: LocalReport) -> int | None:
    if report.start is None or report.end is None:
        return None
    return (report.end - report.start) // timedelta(milliseconds=1)


def read_reports(
    client: BillingClient, start: datetime, end: datetime, account: str | None = None
) -> list[LocalReport]:
    """The estimates whose periods end in (start, end], by account and time."""
    told = ", ".join(f"{name}, {name}_lower, {name}_upper" for name in _COUNTS)
    rows = client.query(
        "SELECT account_id, source, event_id, time, period_hash, period_start, period_end, model, quantization, "  # noqa: S608
        f"device_class, active_ms, memory_bandwidth_mbps, {told} FROM usage_estimates FINAL "
        "WHERE coalesce(period_end, time) > {start:DateTime64(6, 'UTC')} "
        "AND coalesce(period_end, time) <= {end:DateTime64(6, 'UTC')} "
        "AND ({account:String} = '' OR account_id = {account:String}) ORDER BY account_id, time, source, event_id",
        parameters={
            "start": f"{start.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}",
            "end": f"{end.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}",
            "account": account or "",
        },
        settings=READ_SETTINGS,
    ).result_rows
    return [_report(row) for row in rows]


def _report(row: Sequence[Any]) -> LocalReport:
    *head, queries, queries_lower, queries_upper, i, i_lower, i_upper, o, o_lower, o_upper = row
    account, source, event_id, time, period_hash, start, end, model, quantization, device_class, *traits = head
    active_ms, bandwidth = traits
    return LocalReport(
        *(account, source, event_id, in_utc(time), period_hash),
        start=None if start is None else in_utc(start),
        end=None if end is None else in_utc(end),
        model=model,
        quantization=quantization,
        device_class=device_class,
        active_ms=active_ms,
        memory_bandwidth_mbps=bandwidth,
        queries=Told(queries, queries_lower, queries_upper),
        input_tokens=Told(i, i_lower, i_upper),
        output_tokens=Told(o, o_lower, o_upper),
    )
