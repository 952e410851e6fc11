"""What devices report of themselves: seats, the life of models on them, and estimates of what they did locally.

Queries that stay on a device are never metered one by one; an account's devices report them in estimates, in the
proportion to its fallbacks that the account's local share demands.
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from functools import cache
from random import Random
from typing import Any, Final

from fleetmeter_schemas.events import DeviceReportV1, ReportKind
from fleetmeter_schemas.timestamps import to_rfc3339

from fleetmeter_producers.device.traits import DeviceTraits, LocalModel
from fleetmeter_producers.simulator import draws
from fleetmeter_producers.simulator.accounts import Account, Installation, new_installation
from fleetmeter_producers.simulator.draws import pick
from fleetmeter_producers.simulator.planned import Body, Subjects
from fleetmeter_producers.wire import format_time

_KINDS: Final[dict[ReportKind, float]] = {
    "estimate": 60,
    "seat": 18,
    "download": 8,
    "deploy": 6,
    "upgrade": 5,
    "remove": 3,
}
_WEIGHTS: Final = list(itertools.accumulate(_KINDS.values()))
_FEWEST_DEPLOYED: Final = 2
_DAY_US: Final = 86_400_000_000
_HOUR_MS: Final = 3_600_000


def device_report(rng: Random, account: Account, time_us: int) -> tuple[Body, Subjects]:
    """The next report of one of an account's devices. Never names a person, unless the seat is a person's."""
    kind = rng.choices(tuple(_KINDS), cum_weights=_WEIGHTS)[0]
    if kind == "estimate" and account.owed_queries >= 1:
        return _estimate(rng, account, pick(rng, account.deployed), time_us)
    if kind == "download" or (kind == "deploy" and not account.downloaded):
        installation = new_installation(rng)
        account.downloaded.append(installation)
        return _life(installation, "download")
    if kind == "deploy":
        installation = account.downloaded.pop()
        account.deployed.append(installation)
        return _life(installation, "deploy")
    place = int(rng.random() * len(account.deployed))
    if kind == "remove" and len(account.deployed) > _FEWEST_DEPLOYED:
        return _life(account.deployed.pop(place), "remove")
    installation = account.deployed[place]
    if kind == "upgrade":
        installation.version += 1
        return _life(installation, "upgrade", previous_model_version=f"1.{installation.version - 1}")
    return _seat(rng, account, installation, time_us)


def _life(installation: Installation, kind: ReportKind, **fields: str) -> tuple[Body, Subjects]:
    return _report(kind, installation, **fields, **_model(installation), installation=installation.id)


def _seat(rng: Random, account: Account, installation: Installation, time_us: int) -> tuple[Body, Subjects]:
    period = {"period_start": _month_start(time_us // _DAY_US), "period_end": format_time(time_us)}
    if rng.random() < 0.5:
        return _report("seat", installation, **period, seat_kind="device", installation=installation.id)
    user = pick(rng, account.callers).fields["user"]
    return _report("seat", installation, **period, seat_kind="user", user=user, installation=installation.id)


def _estimate(rng: Random, account: Account, installation: Installation, time_us: int) -> tuple[Body, Subjects]:
    """All queries that the account's devices owe, as one device's estimate with bounds from its traits."""
    queries = int(account.owed_queries)
    account.owed_queries -= queries
    input_tokens = queries * draws.tokens(rng, 300, 900, 4_000)
    output_tokens = queries * draws.tokens(rng, 90, 250, 1_000)
    traits = _device(installation.device_class, installation.bandwidth_mbps)
    model = _catalogued(installation.model, installation.quantization)
    # What memory bandwidth allows in an hour; half of that is what devices reach.
    an_hour = traits.most_output_tokens(model, _HOUR_MS) or 1
    active_ms = 2 * output_tokens * _HOUR_MS // an_hour
    return _report(
        "estimate",
        installation,
        **_model(installation),
        period_start=format_time(time_us - _DAY_US),
        period_end=format_time(time_us),
        usage_fidelity="estimated",
        period_hash=f"{rng.getrandbits(128):032x}",
        queries=queries,
        queries_lower=int(queries * 0.8),
        queries_upper=int(queries * 1.3) + 1,
        input_tokens=input_tokens,
        input_tokens_lower=int(input_tokens * 0.7),
        input_tokens_upper=int(input_tokens * 1.5),
        output_tokens=output_tokens,
        output_tokens_lower=int(output_tokens * 0.7),
        output_tokens_upper=traits.most_output_tokens(model, active_ms),
        active_ms=active_ms,
        memory_bandwidth_mbps=installation.bandwidth_mbps,
    )


@cache
def _device(device_class: str, bandwidth_mbps: int) -> DeviceTraits:
    return DeviceTraits(device_class, bandwidth_mbps)


@cache
def _catalogued(name: str, quantization: str) -> LocalModel:
    return LocalModel.of_catalogue(name, quantization)


def _model(installation: Installation) -> dict[str, str]:
    return {
        "model": installation.model,
        "model_version": f"1.{installation.version}",
        "quantization": installation.quantization,
    }


def _report(kind: ReportKind, about: Installation, **fields: Any) -> tuple[Body, Subjects]:
    body = Body.of(DeviceReportV1, {"kind": kind, "device_class": about.device_class, **fields})
    # They stand in the body already: the oracle counts them, nothing is appended.
    return body, Subjects({name: fields[name] for name in ("user", "installation") if name in fields}, b"")


@cache
def _month_start(day: int) -> str:
    """Start of the month of a day (since the epoch)."""
    return to_rfc3339(datetime.fromtimestamp(day * 86_400, UTC).replace(day=1))
