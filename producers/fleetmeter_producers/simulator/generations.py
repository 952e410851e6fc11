"""Generations as the kinds of servers make them: how many tokens, steps, passes, operations, and how long it took."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fleetmeter_producers import matrix
from fleetmeter_producers.matrix import MatrixShape
from fleetmeter_producers.simulator import draws
from fleetmeter_producers.simulator.accounts import ActorKind
from fleetmeter_producers.simulator.diffusion_servers import Maker, denoising, hybrid, in_blocks, parallel
from fleetmeter_producers.simulator.draws import chance
from fleetmeter_producers.simulator.gateways import gateway
from fleetmeter_producers.simulator.generation_parts import (
    Site,
    body,
    catalogue_entry,
    common,
    duration_ms,
    ending,
    prompt_of,
)
from fleetmeter_producers.simulator.planned import Body


def sequential(site: Site) -> Maker:
    """An autoregressive server: one pass a token, about 100 tokens/s."""
    rng = site.rng
    entry = catalogue_entry(("llama-3.1-8b", "mistral-7b", "phi-4", "llama-3.3-70b", "qwen2.5-7b")[site.number % 5])
    shape = MatrixShape.of(entry)

    def make() -> tuple[Body, ...]:
        output, prompt = draws.tokens(rng, 220, 800, 8_000), prompt_of(rng, cached=True)
        passes = matrix.autoregressive(
            prompt["input_tokens"], output, cached_tokens=prompt.get("cache_read_input_tokens", 0)
        )
        first_ms = rng.randint(40, 400)
        busy_ms = duration_ms(output, draws.sequential_tokens_per_s(rng))
        made = body(
            **common(site),
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
        return (made,)

    return make


MAKERS: Final[dict[ActorKind, Callable[[Site], Maker]]] = {
    "parallel": parallel,
    "denoising": denoising,
    "blocks": in_blocks,
    "sequential": sequential,
    "hybrid": hybrid,
    "gateway": gateway,
}
"""What a request of each kind of server becomes: one generation, or a fallback and the generation that took over."""
