"""What a device can do at most, and so what its counts can be.

Text that is generated token by token needs every active weight once a token, so that memory bandwidth bounds the speed:

    output tokens/s  <=  memory bandwidth / bytes of the active weights  *  tokens a pass over the weights may give

(1 token by token; more with speculative decoding or a diffusion model: their largest draft or block.) The roofline
argument, as in "LLM Inference Unveiled: Survey and Roofline Model Insights" (arXiv:2402.16363). It bounds generation,
not the reading of prompts, which computes many tokens in a pass.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

from fleetmeter_schemas.catalogue import load_catalogue
from fleetmeter_schemas.fields import QUANTITY_CAP

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,99}")
_CLASS: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,39}")
_MS_PER_S: Final = 1_000
_BYTES_PER_MB: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model that the app can run. `pass_bytes`: bytes of the weights that one token needs; None if not known.

    `tokens_per_pass`: tokens that one pass over the weights gives at most.
    """

    name: str
    quantization: str | None = None
    pass_bytes: int | None = None
    tokens_per_pass: int = 1

    def __post_init__(self) -> None:
        for what, value in (("name", self.name), ("quantization", self.quantization)):
            if value is not None and not _NAME.fullmatch(value):
                raise ValueError(f"the {what} of a model must match {_NAME.pattern}")
        if (self.pass_bytes is not None and self.pass_bytes < 1) or self.tokens_per_pass < 1:
            raise ValueError(f"{self.name}: pass_bytes and tokens_per_pass are at least 1")

    @classmethod
    def of_catalogue(cls, name: str, quantization: str, *, tokens_per_pass: int = 1) -> Self:
        """A model of the catalogue; raises `ValueError` if it, or its size in that number format, is not there."""
        entry = load_catalogue().find(name)
        total = None if entry is None else entry.weight_bytes(quantization)
        if entry is None or total is None or entry.parameters is None:
            raise ValueError(f"the catalogue has no {name} in {quantization}; give LocalModel(..., pass_bytes=)")
        active = entry.active_parameters or entry.parameters
        return cls(entry.name, quantization, total * active // entry.parameters, tokens_per_pass)


@dataclass(frozen=True, slots=True)
class DeviceTraits:
    """What kind of device it is: a class, never a serial number or a name.

    `memory_bandwidth_mbps` in 10^6 bytes/s, as its maker says. `floor_tokens_per_s`: what such a device generates at
    least while it does; an option, 0 for no such claim. It bounds from below what nobody counted.
    """

    device_class: str
    memory_bandwidth_mbps: int | None = None
    floor_tokens_per_s: int = 0

    def __post_init__(self) -> None:
        if not _CLASS.fullmatch(self.device_class):
            raise ValueError(f"device_class must match {_CLASS.pattern}, such as laptop-16gb")
        if (self.memory_bandwidth_mbps is not None and self.memory_bandwidth_mbps < 1) or self.floor_tokens_per_s < 0:
            raise ValueError("memory_bandwidth_mbps is at least 1, floor_tokens_per_s at least 0")

    def most_output_tokens(self, model: LocalModel, active_ms: int) -> int | None:
        """Tokens that the device can generate in so long, rounded up; None if traits or model don't tell."""
        if self.memory_bandwidth_mbps is None or model.pass_bytes is None:
            return None
        read = self.memory_bandwidth_mbps * _BYTES_PER_MB * active_ms * model.tokens_per_pass
        return -(-read // (model.pass_bytes * _MS_PER_S))


class Counted(NamedTuple):
    """What was counted of one model in one period.

    Sums, and of how many queries each was told: `queries` of them all, the others of those that told it.
    """

    queries: int = 0
    input_tokens: int = 0
    input_known: int = 0
    output_tokens: int = 0
    output_known: int = 0
    active_ms: int = 0
    active_known: int = 0

    def plus(self, other: Counted) -> Counted:
        """Both together."""
        return Counted(*(a + b for a, b in zip(self, other, strict=True)))


def estimate(counted: Counted, model: LocalModel, traits: DeviceTraits, elapsed_ms: int) -> dict[str, Any]:
    """The quantities of an estimate, as fields of `DeviceReportV1`.

    What was counted did happen: it is the lower bound. A sum is told as such only if all queries told their part.
    `elapsed_ms`, how long the app was there in the period, stands in for the time that was computed if not all queries
    told theirs. A sum that the device can't have done is left out, and its bounds stay.
    """
    fields: dict[str, Any] = {
        "queries": counted.queries,
        "queries_lower": counted.queries,
        "input_tokens_lower": counted.input_tokens,
        "usage_fidelity": "measured" if counted.queries == counted.output_known == counted.input_known else "estimated",
        "memory_bandwidth_mbps": traits.memory_bandwidth_mbps,
    }
    if counted.input_known == counted.queries:
        fields["input_tokens"] = counted.input_tokens
    timed = counted.active_known == counted.queries
    if timed:
        fields["active_ms"] = counted.active_ms
    lower, told = counted.output_tokens, counted.output_known == counted.queries
    upper = traits.most_output_tokens(model, counted.active_ms if timed else elapsed_ms)
    if timed and not told:
        lower = max(lower, traits.floor_tokens_per_s * counted.active_ms // _MS_PER_S)
    if upper is not None and lower > upper:
        # Traits, clock or counts are wrong. What the traits allow is still an upper bound, and all that can be said.
        lower, told = 0, False
    fields["output_tokens_lower"] = lower
    if upper is not None:
        fields["output_tokens_upper"] = upper
    if told:
        fields["output_tokens"] = counted.output_tokens
    return {
        name: min(value, QUANTITY_CAP) if isinstance(value, int) else value
        for name, value in fields.items()
        if value is not None
    }
