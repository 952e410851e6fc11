"""The parts of which all simulated generations are made: site, prompt, ending, work."""

from __future__ import annotations

from functools import cache
from random import Random
from typing import Any, Final, NamedTuple

from fleetmeter_schemas.catalogue import ModelEntry, load_catalogue
from fleetmeter_schemas.events import GenerationV1

from fleetmeter_producers import matrix
from fleetmeter_producers.diffusion.work import SCHEDULES
from fleetmeter_producers.matrix import Block, MatrixShape
from fleetmeter_producers.simulator import draws
from fleetmeter_producers.simulator.draws import chance, pick
from fleetmeter_producers.simulator.planned import Body

_GFLOP_PER_MS: Final = 400  # what an accelerator really gets done
_TEAMS: Final = ("search", "support", "coding", "growth", "legal")
_APPS: Final = ("web", "mobile", "batch")


class Site(NamedTuple):
    """Where a server stands: its source of chance, and what it is. `number` tells servers of one kind apart."""

    rng: Random
    region: str
    accelerator: str
    number: int


def common(site: Site) -> dict[str, Any]:
    """What all generations have."""
    rng = site.rng
    fields: dict[str, Any] = {
        "provider": "own-fleet",
        "operation": "infill" if chance(rng, 0.1) else "chat",
        "placement": "cloud",
        "route": "direct",
        "service_tier": pick(rng, ("standard",) * 8 + ("batch", "flex", "priority")),
        "region": site.region,
        "accelerator": site.accelerator,
        "project_id": f"project-{rng.randint(1, 5)}",
        "usage_fidelity": "measured",
    }
    if chance(rng, 0.5):
        fields["labels"] = {"app": pick(rng, _APPS), "team": pick(rng, _TEAMS)}
    if chance(rng, 0.2):
        fields |= {"quality_ppm": rng.randint(400_000, 990_000), "complexity_ppm": rng.randint(10_000, 900_000)}
    return fields


def body(**fields: Any) -> Body:
    """The body of a generation that no meter made."""
    return Body.of(GenerationV1, fields)


def prompt_of(rng: Random, *, cached: bool = False) -> dict[str, int]:
    """The tokens of a prompt, and their parts."""
    count = draws.tokens(rng, 900, 4_000, 180_000)
    fields = {"input_tokens": count}
    if cached and chance(rng, 0.4):
        fields["cache_read_input_tokens"] = int(count * rng.uniform(0.2, 0.8))
        fields["cache_creation_input_tokens_5m"] = int(count * rng.uniform(0, 0.1))
    if chance(rng, 0.05):
        fields["image_input_tokens"] = int(count * rng.uniform(0.1, 0.5))
    return fields


def ending(rng: Random, output: int) -> dict[str, Any]:
    """How it ended. All output was generated; a caller who left received a part of it."""
    fate = rng.random()
    if fate < 0.03:
        delivered = int(output * rng.random())
        return {
            "status": "cancelled",
            "finish_reason": "cancelled",
            "output_tokens": output,
            "delivered_output_tokens": delivered,
        }
    if fate < 0.04:
        return {"status": "error", "finish_reason": "error", "output_tokens": output, "delivered_output_tokens": 0}
    return {"status": "ok", "finish_reason": "length" if fate < 0.1 else "stop", "output_tokens": output}


def times_of(
    rng: Random, shape: MatrixShape | None, schedule: str, input_tokens: int, blocks: list[Block]
) -> dict[str, int]:
    """The time of a parallel generation: by its operations where the model's shape is published, else by its passes."""
    passes = SCHEDULES[schedule](input_tokens, blocks)
    gflop = matrix.gflop(shape, passes)
    busy_ms = matrix.function_evaluations(passes) * rng.randint(8, 14) if gflop is None else gflop // _GFLOP_PER_MS
    return {"gpu_ms": max(1, busy_ms), "latency_ms": max(1, busy_ms) + rng.randint(15, 80)}


def split(output: int, steps: int, count: int) -> list[Block]:
    """An answer in about equal blocks, with about equal steps; never more blocks than tokens or steps."""
    count = min(count, output, steps)
    return [
        Block(output // count + (number < output % count), steps // count + (number < steps % count))
        for number in range(count)
    ]


def duration_ms(count: int, per_s: float) -> int:
    """How long so many tokens take at a speed, in ms."""
    return max(1, round(count * 1000 / per_s))


@cache
def catalogue_entry(name: str) -> ModelEntry:
    """A model that this version's catalogue has."""
    entry = load_catalogue().find(name)
    if entry is None:
        raise LookupError(f"{name} is not in the model catalogue")
    return entry
