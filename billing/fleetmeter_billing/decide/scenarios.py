"""The same work, done otherwise: traffic as it was in, traffic as it would have been out. Pure.

What the customers asked for stays: requests, and the tokens in and out. What changes is how it was done, so that costs
and prices of that (steps, forward passes, matrix operations, accelerator time) follow. Sums are scaled as whole
numbers, rounded half up. Where nothing is known of how it would have been, the measure is left out and counts as not
reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from fleetmeter_schemas.catalogue import ModelEntry
from fleetmeter_schemas.native_spec import ledger_measures

from fleetmeter_billing.decide.traffic import Traffic, by_account
from fleetmeter_billing.errors import ComparisonError

_STEPPED: Final = ("denoising_steps", "max_denoising_steps", "blocks")
_WORK: Final = ("function_evaluations", "matrix_gflop", "draft_matrix_gflop", "gpu_ms", "upstream_cost_nanousd")
"""What depends on how tokens come about, beside steps."""
_LOCAL: Final = "device"
CLOUD: Final = "cloud"


def fewer_steps(rows: Iterable[Traffic], factor: Fraction) -> list[Traffic]:
    """Parallel generation with `factor` times the steps: with them forward passes, matrix operations and accelerator
    time, which are taken as proportional to steps. What was bought costs what it did. Rows without steps stay."""
    bought = {"upstream_cost_nanousd"}
    names = [name for name in (*_STEPPED, *_WORK) if name not in bought]
    return [_scaled(row, names, factor) if row.sum("denoising_steps") else row for row in rows]


def autoregressive(rows: Sequence[Traffic], entry: ModelEntry, *, model: str | None = None) -> list[Traffic]:
    """Parallel generation done token by token by a model of the catalogue: a forward pass for each output token.

    Matrix operations are those of `autoregressive-kv@1`, F(q, K) = 2 N q + 4 L H d q K, with the sums' mean prompt and
    answer for the part that attention takes. Accelerator time, and what is paid upstream, are per output token those of
    the token-by-token traffic that is there (of `model` if it is among it, else of any). `model` is what the fleet
    calls it.
    """
    name = model or entry.name
    sequential = [row for row in rows if row.dimensions["generation_mode"] == "autoregressive"]
    own = [row for row in sequential if row.dimensions["model"] in (name, entry.name, *entry.aliases)]
    like = _Rates.of(own or sequential, "output_tokens")
    found = []
    for row in rows:
        if row.dimensions["generation_mode"] in ("autoregressive", ""):
            found.append(row)
            continue
        sums = _without(row, (*_STEPPED, *_WORK))
        tokens, requests = row.sum("output_tokens"), row.sum("requests")
        sums |= _reported({"function_evaluations": tokens}, requests)
        operations = matrix_gflop(entry, requests, row.sum("input_tokens"), tokens)
        if operations is not None:
            sums |= _reported({"matrix_gflop": operations}, requests)
        sums |= _reported(like.times(tokens, ("gpu_ms", "upstream_cost_nanousd")), requests)
        dimensions = {**row.dimensions, "generation_mode": "autoregressive", "model": name}
        found.append(_row(row, dimensions, sums))
    return found


def matrix_gflop(entry: ModelEntry, requests: int, input_tokens: int, output_tokens: int) -> int | None:
    """10^9 operations of so many requests token by token, all of the mean length; None if the maker has not published
    the model's shape. The sum of input tokens i and output tokens o of a request: 2 N (i + o - 1) for the weights, and
    4 L H d (i^2 + (o - 1) i + (o - 1) o / 2) for attention."""
    parameters = entry.active_parameters or entry.parameters
    if parameters is None or entry.shape is None or not requests:
        return None
    i, o = Fraction(input_tokens, requests), Fraction(output_tokens, requests)
    more = max(o - 1, Fraction(0))
    weights = 2 * parameters * (i + more)
    attention = 4 * entry.shape.layers * entry.shape.heads * entry.shape.head_size * (i * i + more * i + more * o / 2)
    return _half_up((weights + attention) * requests / 10**9)


def all_cloud(rows: Sequence[Traffic], estimated: Mapping[str, int] | None = None) -> list[Traffic]:
    """Everything that devices answered, answered in the cloud: by the model that answers most of the account's cloud
    queries (or of all accounts', if it has none).

    `estimated` are queries by account that devices reported voluntarily and that are no rows. Tokens stay where they
    are known; the rest is, per output token, or per query where there are none, what that cloud traffic takes. Raises
    ComparisonError if there is no cloud traffic at all.
    """
    of_account = by_account(rows)
    moved = [row for row in rows if row.dimensions["placement"] == _LOCAL]
    for account, queries in sorted((estimated or {}).items()):
        if queries:
            if account not in of_account:
                raise ComparisonError(f"account {account} has estimates and no traffic in the period to compare with")
            like = of_account[account][0]
            moved.append(_row(like, {**like.dimensions, "placement": _LOCAL}, {"requests": queries}))
    stays = [row for row in rows if row.dimensions["placement"] != _LOCAL]
    if not moved:
        return stays
    cloud = [row for row in rows if row.dimensions["placement"] == CLOUD]
    if not cloud:
        raise ComparisonError("there is no cloud traffic in the period: what a query costs there is not known")
    anybody = _Cloud.of(cloud)
    clouds = {account: _Cloud.of(own) for account, own in by_account(cloud).items()}
    return stays + [_answered_by(clouds.get(row.account, anybody), row) for row in moved]


def local_share(rows: Sequence[Traffic], share: Fraction) -> list[Traffic]:
    """A part of each account's queries on devices, the same of every kind of cloud query, and the rest in the cloud as
    it is there now. Raises ComparisonError if an account has no cloud traffic to begin with, but local traffic."""
    found = []
    for account, own in sorted(by_account(rows).items()):
        cloud = [row for row in own if row.dimensions["placement"] == CLOUD]
        local = [row for row in own if row.dimensions["placement"] == _LOCAL]
        found += [row for row in own if row.dimensions["placement"] not in (CLOUD, _LOCAL)]
        of_cloud, of_local = (sum(row.sum("requests") for row in side) for side in (cloud, local))
        if not of_cloud:
            if of_local and share < 1:
                raise ComparisonError(f"account {account} has no cloud traffic: what a query costs there is not known")
            found += local
            continue
        factor = (1 - share) * (of_cloud + of_local) / of_cloud
        stays = [_scaled(row, ledger_measures(), factor) for row in cloud]
        found += stays
        rest = of_cloud + of_local - sum(row.sum("requests") for row in stays)
        dimensions = {**cloud[0].dimensions, "placement": _LOCAL}
        if "route" in dimensions:
            dimensions["route"] = "local_first"
        found.append(_row(cloud[0], dimensions, {"requests": rest}))
    return found


@dataclass(frozen=True)
class _Rates:
    """What some traffic takes for each unit of a measure."""

    units: int
    sums: Mapping[str, int]

    @staticmethod
    def of(rows: Iterable[Traffic], measure: str) -> _Rates:
        units, sums = 0, dict[str, int]()
        for row in rows:
            units += row.sum(measure)
            for name, value in row.sums.items():
                sums[name] = sums.get(name, 0) + value
        return _Rates(units, sums)

    def times(self, quantity: int, names: Iterable[str]) -> dict[str, int]:
        """The measures for so many units; without those that nobody reported."""
        if not self.units:
            return {}
        return {
            name: _half_up(Fraction(self.sums[name] * quantity, self.units))
            for name in names
            if self.sums.get(f"{name}_samples")
        }


@dataclass(frozen=True)
class _Cloud:
    """The cloud model that answers most of some traffic, and what it takes."""

    largest: Traffic
    by_query: _Rates
    by_token: _Rates

    @staticmethod
    def of(rows: Sequence[Traffic]) -> _Cloud:
        largest = max(rows, key=lambda one: (one.sum("requests"), one.dimensions["model"]))
        peers = [one for one in rows if one.dimensions["model"] == largest.dimensions["model"]]
        return _Cloud(largest, _Rates.of(peers, "requests"), _Rates.of(peers, "output_tokens"))


def _answered_by(cloud: _Cloud, row: Traffic) -> Traffic:
    tokens, requests = row.sum("output_tokens"), row.sum("requests")
    # Where devices told no tokens, a query takes what one takes in the cloud.
    if tokens:
        rates, quantity = cloud.by_token, tokens
        sums = _without(row, (*_STEPPED, *_WORK))
    else:
        rates, quantity = cloud.by_query, requests
        sums = {"requests": requests}
        for name in ("input_tokens", "output_tokens"):
            sums[name] = _half_up(Fraction(rates.sums.get(name, 0) * requests, rates.units))
    sums |= _reported(rates.times(quantity, (*_STEPPED, *_WORK)), requests)
    dimensions = {**cloud.largest.dimensions}
    if "route" in dimensions:
        dimensions["route"] = "direct"
    return _row(row, dimensions, sums)


def _scaled(row: Traffic, names: Iterable[str], factor: Fraction) -> Traffic:
    sums = dict(row.sums)
    for name in names:
        if name in sums:
            sums[name] = _half_up(sums[name] * factor)
    return _row(row, row.dimensions, sums)


def _row(like: Traffic, dimensions: Mapping[str, str], sums: Mapping[str, int]) -> Traffic:
    return Traffic(like.account, like.segment, dimensions, sums)


def _without(row: Traffic, names: Iterable[str]) -> dict[str, int]:
    left_out = {one for name in names for one in (name, f"{name}_samples")}
    return {name: value for name, value in row.sums.items() if name not in left_out}


def _reported(sums: Mapping[str, int], requests: int) -> dict[str, int]:
    """The sums, with what says that all requests reported them."""
    known = ledger_measures()
    return {**sums, **{f"{name}_samples": requests for name in sums if f"{name}_samples" in known}}


def _half_up(value: Fraction) -> int:
    return int(value + Fraction(1, 2))
