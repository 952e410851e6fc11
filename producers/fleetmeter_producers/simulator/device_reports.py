"""What devices report of themselves: seats, the life of models on them, and estimates of what they did locally.

Queries that stay on a device are never metered one by one; an account's devices report them in estimates, in the
proportion to its fallbacks that the account's local share demands.
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

from fleetmeter_schemas.catalogue import load_catalogue
from fleetmeter_schemas.events import DeviceReportV1, ReportKind
from fleetmeter_schemas.timestamps import to_rfc3339

from fleetmeter_producers.simulator import draws
from fleetmeter_producers.simulator.accounts import Account, Installation, new_installation
from fleetmeter_producers.simulator.draws import pick
from fleetmeter_producers.simulator.planned import Body, Subjects

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


def device_report(rng: Random, account: Account, time_us: int) -> tuple[Body, Subjects]:
    """The next report of one of an account's devices. Never names a person, unless the seat is a person's."""
    kind = rng.choices(tuple(_KINDS), cum_weights=_WEIGHTS)[0]
    moment = datetime.fromtimestamp(time_us // 1_000_000, UTC)
    deployed = [one for one in account.installations if one.deployed]
    waiting = [one for one in account.installations if not one.deployed]
    if kind == "estimate" and account.owed_queries >= 1:
        return _estimate(rng, account, pick(rng, deployed), moment)
    if kind == "download" or (kind == "deploy" and not waiting):
        installation = new_installation(rng)
        account.installations.append(installation)
        return _life(installation, "download")
    if kind == "deploy":
        waiting[0].deployed = True
        return _life(waiting[0], "deploy")
    installation = pick(rng, deployed)
    if kind == "upgrade":
        installation.version += 1
        return _life(installation, "upgrade", previous_model_version=f"1.{installation.version - 1}")
    if kind == "remove" and len(deployed) > _FEWEST_DEPLOYED:
        account.installations.remove(installation)
        return _life(installation, "remove")
    return _seat(rng, account, installation, moment)


def _life(installation: Installation, kind: ReportKind, **fields: Any) -> tuple[Body, Subjects]:
    report = DeviceReportV1(
        kind=kind,
        model=installation.model,
        model_version=f"1.{installation.version}",
        quantization=installation.quantization,
        device_class=installation.device_class,
        installation=installation.id,
        **fields,
    )
    return Body.of(report), _inside(installation=installation.id)


def _seat(rng: Random, account: Account, installation: Installation, moment: datetime) -> tuple[Body, Subjects]:
    month = moment.replace(day=1, hour=0, minute=0, second=0)
    following = (month + timedelta(days=32)).replace(day=1)
    fields: dict[str, Any] = {"seat_kind": "device"}
    subjects = {"installation": installation.id}
    if rng.random() < 0.5:
        fields = {"seat_kind": "user", "user": pick(rng, account.callers).fields["user"]}
        subjects["user"] = fields["user"]
    report = DeviceReportV1(
        kind="seat",
        period_start=to_rfc3339(month),
        period_end=to_rfc3339(following),
        device_class=installation.device_class,
        installation=installation.id,
        **fields,
    )
    return Body.of(report), _inside(**subjects)


def _estimate(rng: Random, account: Account, installation: Installation, moment: datetime) -> tuple[Body, Subjects]:
    """All queries that the account's devices owe, as one device's estimate with bounds from its traits."""
    queries = int(account.owed_queries)
    account.owed_queries -= queries
    input_tokens = queries * draws.tokens(rng, 300, 900, 4_000)
    output_tokens = queries * draws.tokens(rng, 90, 250, 1_000)
    model = load_catalogue().find(installation.model)
    weights = model.weight_bytes(installation.quantization) if model else None
    if weights is None:
        raise LookupError(f"{installation.model} in {installation.quantization} is not in the model catalogue")
    # Each token reads all weights once, so that memory bandwidth bounds the speed; half of it is what devices reach.
    limit_per_s = installation.bandwidth_mbps * 1_000_000 / weights
    report = DeviceReportV1(
        kind="estimate",
        period_start=to_rfc3339(moment - timedelta(days=1)),
        period_end=to_rfc3339(moment),
        model=installation.model,
        model_version=f"1.{installation.version}",
        quantization=installation.quantization,
        device_class=installation.device_class,
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
        output_tokens_upper=int(output_tokens * 1.5),
        active_ms=int(output_tokens * 1000 / (limit_per_s * 0.5)),
        memory_bandwidth_mbps=installation.bandwidth_mbps,
    )
    return Body.of(report), _inside()


def _inside(**fields: str) -> Subjects:
    """Subjects that stand in the body already; the oracle counts them, nothing is appended."""
    return Subjects(fields, b"")
