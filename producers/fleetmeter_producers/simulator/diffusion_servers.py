"""Diffusion servers of the fleet: a decoding loop under a `DiffusionMeter`, as users have it, without the model.

A maker is made once for a server (its model and habits are fixed there) and then called for each request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fleetmeter_producers import matrix
from fleetmeter_producers.diffusion import DiffusionMeter, reported
from fleetmeter_producers.matrix import Block, MatrixShape
from fleetmeter_producers.simulator import draws
from fleetmeter_producers.simulator.draws import chance
from fleetmeter_producers.simulator.generation_parts import (
    Site,
    body,
    catalogue_entry,
    common,
    duration_ms,
    ending,
    prompt_of,
    split,
    times_of,
)
from fleetmeter_producers.simulator.metering import ACCOUNT, Collector, stopped_clock
from fleetmeter_producers.simulator.planned import Body

_SCHEDULES: Final = (
    (matrix.DIFFUSION, "low_confidence"),
    (matrix.PREFIX_CACHE, "semi_autoregressive"),
    (matrix.DUAL_CACHE, "adaptive_parallel"),
    (matrix.DUAL_CACHE, "slow_fast"),
)

Maker = Callable[[], tuple[Body, ...]]


def parallel(site: Site) -> Maker:
    """A Mercury-like server behind an OpenAI-compatible interface: 700 to 1,100 tokens/s, and no steps reported."""
    rng, entry = site.rng, catalogue_entry(("mercury-coder-mini", "mercury-coder-small")[site.number % 2])
    published = entry.throughput.output_tokens_per_s if entry.throughput else 1000

    def make() -> tuple[Body, ...]:
        output = draws.tokens(rng, 260, 900, 8_000)
        first_ms = rng.randint(25, 120)
        busy_ms = duration_ms(output, draws.parallel_tokens_per_s(rng, published))
        prompt, ended = prompt_of(rng), ending(rng, output)
        answer = {
            "model": entry.name,
            "choices": [{"finish_reason": ended["finish_reason"]}],
            "usage": {"prompt_tokens": prompt["input_tokens"], "completion_tokens": output},
        }
        told = reported.mercury(answer)
        times = {"latency_ms": first_ms + busy_ms, "time_to_first_token_ms": first_ms}
        return (body(**{**common(site), **told, **prompt, **ended, **times}),)

    return make


def denoising(site: Site) -> Maker:
    """An own diffusion server that denoises whole answers: few steps for simple queries, many for complex ones,
    whatever their length."""
    rng, model = site.rng, ("llada-8b-instruct", "dream-7b-instruct")[site.number % 2]
    schedule, strategy = _SCHEDULES[site.number % len(_SCHEDULES)]
    server = _Server(site, model, schedule, quantization="bf16", decoding_strategy=strategy)

    def make() -> tuple[Body, ...]:
        is_complex = chance(rng, 0.4)
        output, prompt = draws.tokens(rng, 200, 600, 2_048), prompt_of(rng)
        steps = draws.steps_of_answer(rng, complex_query=is_complex)
        blocks = split(output, steps, 1 if schedule == matrix.DIFFUSION else rng.randint(1, 4))
        query = {"query_class": "complex" if is_complex else "simple"}
        return server.answer(prompt, output, blocks, most_steps=32, **query)

    return make


def in_blocks(site: Site) -> Maker:
    """A block diffusion server: up to 48 steps on each block, bimodal."""
    rng = site.rng
    model, size = (("diffusiongemma-26b-a4b", 256), ("fast-dllm-v2-7b", 64), ("llada2.0-mini", 64))[site.number % 3]
    server = _Server(site, model, matrix.BLOCK_CAUSAL, quantization="fp8", decoding_strategy="joint_threshold")

    def make() -> tuple[Body, ...]:
        output, prompt = draws.tokens(rng, 220, 700, 2_048), prompt_of(rng)
        sizes = [size] * (output // size) + ([output % size] if output % size else [])
        blocks = [Block(part, draws.steps_of_block(rng)) for part in sizes]
        return server.answer(prompt, output, blocks, most_steps=draws.MAX_STEPS_PER_BLOCK * len(blocks))

    return make


def hybrid(site: Site) -> Maker:
    """A small model drafts, a large one refines the draft in parallel, in a few steps."""
    rng, small = site.rng, catalogue_entry("llama-3.2-1b")
    server = _Server(
        site,
        "llada-8b-instruct",
        matrix.DUAL_CACHE,
        generation_mode="hybrid",
        decoding_strategy="speculative",
        draft_model=small.name,
    )

    def make() -> tuple[Body, ...]:
        output, prompt = draws.tokens(rng, 200, 600, 2_048), prompt_of(rng)
        blocks = split(output, draws.steps_of_answer(rng, complex_query=False), rng.randint(1, 3))
        drafting = matrix.autoregressive(prompt["input_tokens"], output)
        drafted = {
            "draft_tokens": output,
            "accepted_draft_tokens": int(output * rng.uniform(0.6, 0.9)),
            "draft_matrix_gflop": matrix.gflop(MatrixShape.of(small), drafting),
        }
        return server.answer(prompt, output, blocks, most_steps=16, **drafted)

    return make


class _Server:
    """A server of ours: its meter, and the loop that the meter looks into."""

    def __init__(self, site: Site, model: str, schedule: str, **dimensions: Any) -> None:
        self._site, self._schedule, self._collector = site, schedule, Collector()
        self._meter = DiffusionMeter(
            self._collector, model=model, schedule=schedule, clock_ns=stopped_clock, **dimensions
        )
        self._shape = MatrixShape.of(catalogue_entry(model))

    def answer(
        self, prompt: dict[str, int], output: int, blocks: list[Block], *, most_steps: int, **fields: Any
    ) -> tuple[Body, ...]:
        """One generation, block by block and step by step."""
        by_blocks = self._schedule == matrix.BLOCK_CAUSAL
        fields = {**common(self._site), **prompt, **ending(self._site.rng, output), **fields}
        count, status, reason = fields.pop("output_tokens"), fields.pop("status"), fields.pop("finish_reason")
        with self._meter.generation(
            ACCOUNT,
            input_tokens=fields.pop("input_tokens"),
            canvas_tokens=None if by_blocks else output,
            max_denoising_steps=most_steps,
            **fields,
        ) as run:
            if by_blocks:
                run.prefill()
            for number, block in enumerate(blocks):
                run.begin_block(block.size)
                for _ in range(block.steps):
                    run.step()
                if by_blocks and number < len(blocks) - 1:
                    run.write_cache()
            times = times_of(self._site.rng, self._shape, self._schedule, prompt["input_tokens"], blocks)
            run.finish(count, status=status, finish_reason=reason, **times)
        return tuple(self._collector.take())
