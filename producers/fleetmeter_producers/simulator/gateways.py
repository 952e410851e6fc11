"""Gateways of the fleet: a `Gateway`, as users run it, asks the device, which falls back, and then the cloud.

Queries that devices answer are never seen here: devices report them in estimates.
"""

from __future__ import annotations

import itertools
from typing import Any, Final

from fleetmeter_schemas.events import FallbackReason

from fleetmeter_producers import matrix
from fleetmeter_producers.gateway import Gateway
from fleetmeter_producers.gateway.routing import Request
from fleetmeter_producers.matrix import MatrixShape
from fleetmeter_producers.simulator import draws
from fleetmeter_producers.simulator.accounts import DEVICE_CLASSES
from fleetmeter_producers.simulator.diffusion_servers import Maker
from fleetmeter_producers.simulator.draws import chance, pick
from fleetmeter_producers.simulator.generation_parts import (
    Site,
    catalogue_entry,
    common,
    duration_ms,
    ending,
    prompt_of,
)
from fleetmeter_producers.simulator.metering import ACCOUNT, Collector, stopped_clock
from fleetmeter_producers.simulator.planned import Body

_REASONS: Final[dict[FallbackReason, float]] = {
    "low_confidence": 40,
    "context_too_long": 18,
    "capability": 12,
    "timeout": 8,
    "out_of_memory": 6,
    "error": 4,
    "model_missing": 3,
    "battery": 3,
    "thermal": 2,
    "policy": 2,
    "user_request": 1,
    "other": 1,
}
# The device did not even begin.
_UNTRIED: Final = frozenset({"model_missing", "battery", "policy", "user_request"})
_QUERY_CLASSES: Final = ("complex", "complex", "long_context", "code", "simple")
_CLOUD_NANOUSD: Final = {"llama-3.3-70b": (700, 900), "mercury-coder-small": (250, 1000)}  # input, output token


def gateway(site: Site) -> Maker:
    """Makes turns: the fallback of a device, and the generation in the cloud that took over."""
    rng, collector = site.rng, Collector()
    door = Gateway(collector, clock_ns=stopped_clock)
    cloud = tuple(_CLOUD_NANOUSD)[site.number % 2]
    reasons, weights = tuple(_REASONS), list(itertools.accumulate(_REASONS.values()))

    def make() -> tuple[Body, ...]:
        query = {"query_class": pick(rng, _QUERY_CLASSES), "project_id": f"project-{rng.randint(1, 5)}"}
        with door.request(ACCOUNT, region=site.region, **query) as request:
            _ask_device(site, request, rng.choices(reasons, cum_weights=weights)[0])
            _ask_cloud(site, request, cloud, query)
        generation, fallback = collector.take()
        return fallback, generation

    return make


def _ask_device(site: Site, request: Request, reason: FallbackReason) -> None:
    rng = site.rng
    device_class, _, model, quantization = pick(rng, DEVICE_CLASSES)
    if reason in _UNTRIED:
        request.skip_local(model, reason, device_class=device_class, quantization=quantization)
        return
    prompt = draws.tokens(rng, 700, 3_000, 32_000)
    output = draws.tokens(rng, 40, 200, 1_000) if chance(rng, 0.7) else 0
    passes = matrix.autoregressive(prompt, output)
    with request.local(model, convention="ollama", device_class=device_class, quantization=quantization) as attempt:
        attempt.answered({"done": True, "prompt_eval_count": prompt, "eval_count": output})
        attempt.used(
            active_ms=200 + output * rng.randint(30, 90),
            matrix_gflop=matrix.gflop(MatrixShape.of(catalogue_entry(model)), passes),
        )
        attempt.fall_back(reason)


def _ask_cloud(site: Site, request: Request, model: str, query: dict[str, str]) -> None:
    """A provider answers, and tells its price."""
    rng, entry = site.rng, catalogue_entry(model)
    input_price, output_price = _CLOUD_NANOUSD[model]
    output, prompt = draws.tokens(rng, 320, 1_200, 16_000), prompt_of(rng, cached=True)
    sequential = entry.generation_mode == "autoregressive"
    speed = draws.sequential_tokens_per_s(rng) if sequential else draws.parallel_tokens_per_s(rng, 1000)
    optional: dict[str, Any] = {}
    if chance(rng, 0.3):
        optional["completion_tokens_details"] = {"reasoning_tokens": int(output * rng.uniform(0.1, 0.6))}
    if "cache_read_input_tokens" in prompt:
        optional["prompt_tokens_details"] = {"cached_tokens": prompt.pop("cache_read_input_tokens")}
    given = prompt.pop("input_tokens")
    used: dict[str, Any] = {**prompt, **ending(rng, output)}
    if chance(rng, 0.2):
        used |= {"tool_calls": rng.randint(1, 5), "web_search_requests": rng.randint(0, 2)}
    first_ms = rng.randint(150, 700)
    payer = "customer" if chance(rng, 0.1) else "platform"
    told = {**common(site), **query, "route": "fallback", "provider": "cloud-partner", "cost_bearer": payer}
    with request.cloud(model, requested_model="auto", **{**told, "usage_fidelity": "provider_reported"}) as call:
        usage: dict[str, Any] = {"prompt_tokens": given, "completion_tokens": output, **optional}
        choice = {"index": 0, "finish_reason": used["finish_reason"]}
        call.answered({"model": model, "choices": [choice], "usage": usage})
        call.used(
            **used,
            latency_ms=first_ms + duration_ms(output, speed),
            time_to_first_token_ms=first_ms,
            upstream_cost_nanousd=input_price * given + output_price * output,
        )
