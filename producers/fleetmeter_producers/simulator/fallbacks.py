"""Local attempts that went to the cloud: why, and the work that was wasted."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Final

from fleetmeter_schemas.events import FallbackReason, FallbackV1

from fleetmeter_producers import matrix
from fleetmeter_producers.matrix import MatrixShape
from fleetmeter_producers.simulator import draws
from fleetmeter_producers.simulator.accounts import DEVICE_CLASSES
from fleetmeter_producers.simulator.draws import chance, pick
from fleetmeter_producers.simulator.generation_parts import Site, catalogue_entry
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


def fallback(site: Site) -> Callable[[], Body]:
    """Makes fallbacks as one gateway sees them."""
    rng = site.rng
    reasons, weights = tuple(_REASONS), list(itertools.accumulate(_REASONS.values()))

    def make() -> Body:
        device_class, _, model, quantization = pick(rng, DEVICE_CLASSES)
        reason = rng.choices(reasons, cum_weights=weights)[0]
        wasted: dict[str, Any] = {}
        if reason not in _UNTRIED:
            prompt = draws.tokens(rng, 700, 3_000, 32_000)
            output = draws.tokens(rng, 40, 200, 1_000) if chance(rng, 0.7) else 0
            passes = matrix.autoregressive(prompt, output)
            wasted = {
                "wasted_input_tokens": prompt,
                "wasted_output_tokens": output,
                "wasted_matrix_gflop": matrix.gflop(MatrixShape.of(catalogue_entry(model)), passes),
                "wasted_active_ms": 200 + output * rng.randint(30, 90),
            }
        fields = {
            "model": model,
            "fallback_reason": reason,
            "region": site.region,
            "quantization": quantization,
            "query_class": pick(rng, _QUERY_CLASSES),
            "device_class": device_class,
            "project_id": f"project-{rng.randint(1, 5)}",
        }
        return Body.of(FallbackV1, {**fields, **wasted})

    return make
