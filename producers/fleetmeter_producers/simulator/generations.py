"""Generations as the kinds of servers make them: how many tokens, steps, passes, operations, and how long it took.

A maker is made once for a server (its model and habits are fixed there) and then called for each request.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any, Final, NamedTuple

from fleetmeter_schemas.catalogue import ModelEntry, load_catalogue
from fleetmeter_schemas.events import GenerationV1

from fleetmeter_producers import matrix
from fleetmeter_producers.matrix import Block, MatrixShape, Passes
from fleetmeter_producers.simulator import draws
from fleetmeter_producers.simulator.accounts import ActorKind
from fleetmeter_producers.simulator.draws import chance, pick
from fleetmeter_producers.simulator.planned import Body

_GFLOP_PER_MS: Final = 400  # what an accelerator really gets done
_TEAMS: Final = ("search", "support", "coding", "growth", "legal")
_APPS: Final = ("web", "mobile", "batch")
_SCHEDULES: Final = (
    (matrix.DIFFUSION, matrix.diffusion, "low_confidence"),
    (matrix.PREFIX_CACHE, matrix.diffusion_prefix_cache, "semi_autoregressive"),
    (matrix.DUAL_CACHE, matrix.diffusion_dual_cache, "adaptive_parallel"),
    (matrix.DUAL_CACHE, matrix.diffusion_dual_cache, "slow_fast"),
)
_CLOUD_NANOUSD: Final = {"llama-3.3-70b": (700, 900), "mercury-coder-small": (250, 1000)}  # input, output token


class Site(NamedTuple):
    """Where a server stands: its source of chance, and what it is. `number` tells servers of one kind apart."""

    rng: Random
    region: str
    accelerator: str
    number: int


Maker = Callable[[], Body]


def parallel(site: Site) -> Maker:
    """A Mercury-like server behind an OpenAI-compatible interface: 700 to 1,100 tokens/s, and no steps reported."""
    rng, entry = site.rng, catalogue_entry(("mercury-coder-mini", "mercury-coder-small")[site.number % 2])
    published = entry.throughput.output_tokens_per_s if entry.throughput else 1000

    def make() -> Body:
        output = draws.tokens(rng, 260, 900, 8_000)
        first_ms = rng.randint(25, 120)
        busy_ms = _ms(output, draws.parallel_tokens_per_s(rng, published))
        return _body(
            site,
            model=entry.name,
            generation_mode=entry.generation_mode,
            provider="inception",
            usage_fidelity="provider_reported",
            **_input(rng),
            **_ending(rng, output),
            latency_ms=first_ms + busy_ms,
            time_to_first_token_ms=first_ms,
        )

    return make


def denoising(site: Site) -> Maker:
    """An own diffusion server that denoises whole answers: few steps for simple queries, many for complex ones,
    whatever their length."""
    rng, entry = site.rng, catalogue_entry(("llada-8b-instruct", "dream-7b-instruct")[site.number % 2])
    formula, schedule, strategy = _SCHEDULES[site.number % len(_SCHEDULES)]

    def make() -> Body:
        is_complex = chance(rng, 0.4)
        output, prompt = draws.tokens(rng, 200, 600, 2_048), _input(rng)
        steps = draws.steps_of_answer(rng, complex_query=is_complex)
        blocks = _split(output, steps, 1 if formula == matrix.DIFFUSION else rng.randint(1, 4))
        return _body(
            site,
            model=entry.name,
            generation_mode="diffusion",
            quantization="bf16",
            decoding_strategy=strategy,
            query_class="complex" if is_complex else "simple",
            **prompt,
            **_ending(rng, output),
            max_denoising_steps=32,
            **_work(rng, entry, formula, schedule(prompt["input_tokens"], blocks), blocks),
        )

    return make


def in_blocks(site: Site) -> Maker:
    """A block diffusion server: up to 48 steps on each block, bimodal."""
    rng = site.rng
    name, size = (("diffusiongemma-26b-a4b", 256), ("fast-dllm-v2-7b", 64), ("llada2.0-mini", 64))[site.number % 3]
    entry = catalogue_entry(name)

    def make() -> Body:
        output, prompt = draws.tokens(rng, 220, 700, 2_048), _input(rng)
        sizes = [size] * (output // size) + ([output % size] if output % size else [])
        blocks = [Block(part, draws.steps_of_block(rng)) for part in sizes]
        return _body(
            site,
            model=entry.name,
            generation_mode="block_diffusion",
            quantization="fp8",
            decoding_strategy="joint_threshold",
            **prompt,
            **_ending(rng, output),
            max_denoising_steps=draws.MAX_STEPS_PER_BLOCK * len(blocks),
            **_work(rng, entry, matrix.BLOCK_CAUSAL, matrix.block_causal(prompt["input_tokens"], blocks), blocks),
        )

    return make


def sequential(site: Site) -> Maker:
    """An autoregressive server: one pass a token, about 100 tokens/s."""
    rng = site.rng
    entry = catalogue_entry(("llama-3.1-8b", "mistral-7b", "phi-4", "llama-3.3-70b", "qwen2.5-7b")[site.number % 5])
    shape = MatrixShape.of(entry)

    def make() -> Body:
        output, prompt = draws.tokens(rng, 220, 800, 8_000), _input(rng, cached=True)
        passes = matrix.autoregressive(
            prompt["input_tokens"], output, cached_tokens=prompt.get("cache_read_input_tokens", 0)
        )
        first_ms = rng.randint(40, 400)
        busy_ms = _ms(output, draws.sequential_tokens_per_s(rng))
        return _body(
            site,
            model=entry.name,
            generation_mode="autoregressive",
            quantization="bf16",
            query_class="complex" if chance(rng, 0.4) else "simple",
            matrix_formula=matrix.AUTOREGRESSIVE,
            **prompt,
            **_ending(rng, output),
            function_evaluations=matrix.function_evaluations(passes),
            matrix_gflop=matrix.gflop(shape, passes),
            gpu_ms=first_ms + busy_ms,
            latency_ms=first_ms + busy_ms,
            time_to_first_token_ms=first_ms,
        )

    return make


def hybrid(site: Site) -> Maker:
    """A small model drafts, a large one refines the draft in parallel, in a few steps."""
    rng, entry, small = site.rng, catalogue_entry("llada-8b-instruct"), catalogue_entry("llama-3.2-1b")

    def make() -> Body:
        output, prompt = draws.tokens(rng, 200, 600, 2_048), _input(rng)
        blocks = _split(output, draws.steps_of_answer(rng, complex_query=False), rng.randint(1, 3))
        passes = matrix.diffusion_dual_cache(prompt["input_tokens"], blocks)
        drafting = matrix.autoregressive(prompt["input_tokens"], output)
        return _body(
            site,
            model=entry.name,
            generation_mode="hybrid",
            decoding_strategy="speculative",
            draft_model=small.name,
            **prompt,
            **_ending(rng, output),
            draft_tokens=output,
            accepted_draft_tokens=int(output * rng.uniform(0.6, 0.9)),
            max_denoising_steps=16,
            **_work(rng, entry, matrix.DUAL_CACHE, passes, blocks),
            draft_matrix_gflop=matrix.gflop(MatrixShape.of(small), drafting),
        )

    return make


def gateway(site: Site) -> Maker:
    """A gateway's generation in the cloud, for a query that left the device: reported by a provider, with its price."""
    rng = site.rng
    model = tuple(_CLOUD_NANOUSD)[site.number % 2]
    entry, (input_price, output_price) = catalogue_entry(model), _CLOUD_NANOUSD[model]

    def make() -> Body:
        output, prompt = draws.tokens(rng, 320, 1_200, 16_000), _input(rng, cached=True)
        speed = (
            draws.sequential_tokens_per_s(rng)
            if entry.generation_mode == "autoregressive"
            else draws.parallel_tokens_per_s(rng, 1000)
        )
        optional: dict[str, Any] = {}
        if chance(rng, 0.3):
            optional["reasoning_tokens"] = int(output * rng.uniform(0.1, 0.6))
        if chance(rng, 0.2):
            optional |= {"tool_calls": rng.randint(1, 5), "web_search_requests": rng.randint(0, 2)}
        first_ms = rng.randint(150, 700)
        return _body(
            site,
            model=model,
            generation_mode=entry.generation_mode,
            provider="cloud-partner",
            requested_model="auto",
            route="fallback",
            query_class="complex",
            cost_bearer="customer" if chance(rng, 0.1) else "platform",
            usage_fidelity="provider_reported",
            **prompt,
            **_ending(rng, output),
            **optional,
            latency_ms=first_ms + _ms(output, speed),
            time_to_first_token_ms=first_ms,
            upstream_cost_nanousd=input_price * prompt["input_tokens"] + output_price * output,
        )

    return make


MAKERS: Final[dict[ActorKind, Callable[[Site], Maker]]] = {
    "parallel": parallel,
    "denoising": denoising,
    "blocks": in_blocks,
    "sequential": sequential,
    "hybrid": hybrid,
    "gateway": gateway,
}


def _body(site: Site, **fields: Any) -> Body:
    """A body out of the fields and what all generations have."""
    rng = site.rng
    common: dict[str, Any] = {
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
        common["labels"] = {"app": pick(rng, _APPS), "team": pick(rng, _TEAMS)}
    if chance(rng, 0.2):
        common |= {"quality_ppm": rng.randint(400_000, 990_000), "complexity_ppm": rng.randint(10_000, 900_000)}
    return Body.of(GenerationV1, {**common, **fields})


def _input(rng: Random, *, cached: bool = False) -> dict[str, int]:
    count = draws.tokens(rng, 900, 4_000, 180_000)
    fields = {"input_tokens": count}
    if cached and chance(rng, 0.4):
        fields["cache_read_input_tokens"] = int(count * rng.uniform(0.2, 0.8))
        fields["cache_creation_input_tokens_5m"] = int(count * rng.uniform(0, 0.1))
    if chance(rng, 0.05):
        fields["image_input_tokens"] = int(count * rng.uniform(0.1, 0.5))
    return fields


def _ending(rng: Random, output: int) -> dict[str, Any]:
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


def _work(rng: Random, entry: ModelEntry, formula: str, passes: list[Passes], blocks: list[Block]) -> dict[str, Any]:
    """Steps, passes, operations and time of a parallel generation. Operations only where the shape is published."""
    gflop = matrix.gflop(MatrixShape.of(entry), passes)
    evaluations = matrix.function_evaluations(passes)
    busy_ms = max(1, gflop // _GFLOP_PER_MS) if gflop is not None else evaluations * rng.randint(8, 14)
    work = {
        "denoising_steps": sum(block.steps for block in blocks),
        "function_evaluations": evaluations,
        "blocks": len(blocks),
        "gpu_ms": busy_ms,
        "latency_ms": busy_ms + rng.randint(15, 80),
    }
    return work if gflop is None else {**work, "matrix_formula": formula, "matrix_gflop": gflop}


def _split(output: int, steps: int, count: int) -> list[Block]:
    """An answer in about equal blocks, with about equal steps; never more blocks than tokens or steps."""
    count = min(count, output, steps)
    return [
        Block(output // count + (number < output % count), steps // count + (number < steps % count))
        for number in range(count)
    ]


def _ms(count: int, per_s: float) -> int:
    return max(1, round(count * 1000 / per_s))


@cache
def catalogue_entry(name: str) -> ModelEntry:
    """A model that this version's catalogue has."""
    entry = load_catalogue().find(name)
    if entry is None:
        raise LookupError(f"{name} is not in the model catalogue")
    return entry
