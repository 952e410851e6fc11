"""Generations as the kinds of servers make them: how many tokens, steps, passes, operations, and how long it took.

A maker is made once for a server (its model and habits are fixed there) and then called for each request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fleetmeter_producers import matrix
from fleetmeter_producers.matrix import Block, MatrixShape
from fleetmeter_producers.simulator import draws
from fleetmeter_producers.simulator.accounts import ActorKind
from fleetmeter_producers.simulator.draws import chance
from fleetmeter_producers.simulator.generation_parts import (
    Site,
    body,
    catalogue_entry,
    duration_ms,
    ending,
    prompt_of,
    split,
    work_of,
)
from fleetmeter_producers.simulator.planned import Body

_SCHEDULES: Final = (
    (matrix.DIFFUSION, matrix.diffusion, "low_confidence"),
    (matrix.PREFIX_CACHE, matrix.diffusion_prefix_cache, "semi_autoregressive"),
    (matrix.DUAL_CACHE, matrix.diffusion_dual_cache, "adaptive_parallel"),
    (matrix.DUAL_CACHE, matrix.diffusion_dual_cache, "slow_fast"),
)
_CLOUD_NANOUSD: Final = {"llama-3.3-70b": (700, 900), "mercury-coder-small": (250, 1000)}  # input, output token

Maker = Callable[[], Body]


def parallel(site: Site) -> Maker:
    """A Mercury-like server behind an OpenAI-compatible interface: 700 to 1,100 tokens/s, and no steps reported."""
    rng, entry = site.rng, catalogue_entry(("mercury-coder-mini", "mercury-coder-small")[site.number % 2])
    published = entry.throughput.output_tokens_per_s if entry.throughput else 1000

    def make() -> Body:
        output = draws.tokens(rng, 260, 900, 8_000)
        first_ms = rng.randint(25, 120)
        busy_ms = duration_ms(output, draws.parallel_tokens_per_s(rng, published))
        return body(
            site,
            model=entry.name,
            generation_mode=entry.generation_mode,
            provider="inception",
            usage_fidelity="provider_reported",
            **prompt_of(rng),
            **ending(rng, output),
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
        output, prompt = draws.tokens(rng, 200, 600, 2_048), prompt_of(rng)
        steps = draws.steps_of_answer(rng, complex_query=is_complex)
        blocks = split(output, steps, 1 if formula == matrix.DIFFUSION else rng.randint(1, 4))
        return body(
            site,
            model=entry.name,
            generation_mode="diffusion",
            quantization="bf16",
            decoding_strategy=strategy,
            query_class="complex" if is_complex else "simple",
            **prompt,
            **ending(rng, output),
            max_denoising_steps=32,
            **work_of(rng, entry, formula, schedule(prompt["input_tokens"], blocks), blocks),
        )

    return make


def in_blocks(site: Site) -> Maker:
    """A block diffusion server: up to 48 steps on each block, bimodal."""
    rng = site.rng
    name, size = (("diffusiongemma-26b-a4b", 256), ("fast-dllm-v2-7b", 64), ("llada2.0-mini", 64))[site.number % 3]
    entry = catalogue_entry(name)

    def make() -> Body:
        output, prompt = draws.tokens(rng, 220, 700, 2_048), prompt_of(rng)
        sizes = [size] * (output // size) + ([output % size] if output % size else [])
        blocks = [Block(part, draws.steps_of_block(rng)) for part in sizes]
        return body(
            site,
            model=entry.name,
            generation_mode="block_diffusion",
            quantization="fp8",
            decoding_strategy="joint_threshold",
            **prompt,
            **ending(rng, output),
            max_denoising_steps=draws.MAX_STEPS_PER_BLOCK * len(blocks),
            **work_of(rng, entry, matrix.BLOCK_CAUSAL, matrix.block_causal(prompt["input_tokens"], blocks), blocks),
        )

    return make


def sequential(site: Site) -> Maker:
    """An autoregressive server: one pass a token, about 100 tokens/s."""
    rng = site.rng
    entry = catalogue_entry(("llama-3.1-8b", "mistral-7b", "phi-4", "llama-3.3-70b", "qwen2.5-7b")[site.number % 5])
    shape = MatrixShape.of(entry)

    def make() -> Body:
        output, prompt = draws.tokens(rng, 220, 800, 8_000), prompt_of(rng, cached=True)
        passes = matrix.autoregressive(
            prompt["input_tokens"], output, cached_tokens=prompt.get("cache_read_input_tokens", 0)
        )
        first_ms = rng.randint(40, 400)
        busy_ms = duration_ms(output, draws.sequential_tokens_per_s(rng))
        return body(
            site,
            model=entry.name,
            generation_mode="autoregressive",
            quantization="bf16",
            query_class="complex" if chance(rng, 0.4) else "simple",
            matrix_formula=matrix.AUTOREGRESSIVE,
            **prompt,
            **ending(rng, output),
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
        output, prompt = draws.tokens(rng, 200, 600, 2_048), prompt_of(rng)
        blocks = split(output, draws.steps_of_answer(rng, complex_query=False), rng.randint(1, 3))
        passes = matrix.diffusion_dual_cache(prompt["input_tokens"], blocks)
        drafting = matrix.autoregressive(prompt["input_tokens"], output)
        return body(
            site,
            model=entry.name,
            generation_mode="hybrid",
            decoding_strategy="speculative",
            draft_model=small.name,
            **prompt,
            **ending(rng, output),
            draft_tokens=output,
            accepted_draft_tokens=int(output * rng.uniform(0.6, 0.9)),
            max_denoising_steps=16,
            **work_of(rng, entry, matrix.DUAL_CACHE, passes, blocks),
            draft_matrix_gflop=matrix.gflop(MatrixShape.of(small), drafting),
        )

    return make


def gateway(site: Site) -> Maker:
    """A gateway's generation in the cloud, for a query that left the device: reported by a provider, with its price."""
    rng = site.rng
    model = tuple(_CLOUD_NANOUSD)[site.number % 2]
    entry, (input_price, output_price) = catalogue_entry(model), _CLOUD_NANOUSD[model]

    def make() -> Body:
        output, prompt = draws.tokens(rng, 320, 1_200, 16_000), prompt_of(rng, cached=True)
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
        return body(
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
            **ending(rng, output),
            **optional,
            latency_ms=first_ms + duration_ms(output, speed),
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
