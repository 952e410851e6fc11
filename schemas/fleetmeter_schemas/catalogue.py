"""The model catalogue: versioned data about the models of the field, from published figures with their sources.

Matrix units, model tiers, bounds of device usage and counterfactuals come from it. What a vendor has not published is
null, never a guess.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Tier = Literal["1b", "3b", "7b", "14b", "30b", "70b", "frontier"]
_Count = Annotated[int, Field(gt=0)]

# Upper limits of parameters, in 10^9, of each size tier: the classes in which small models are sold.
TIER_LIMITS: tuple[tuple[Tier, float], ...] = (
    ("1b", 2.0),
    ("3b", 5.0),
    ("7b", 10.0),
    ("14b", 20.0),
    ("30b", 45.0),
    ("70b", 110.0),
)


class Shape(BaseModel):
    """What matrix operations depend on: layers, attention heads and the size of a head."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    layers: _Count
    heads: _Count
    head_size: _Count


class Throughput(BaseModel):
    """A published speed: output tokens a second of one request, and on what."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    output_tokens_per_s: _Count
    accelerator: str


class ModelEntry(BaseModel):
    """One model: what it is, how large, and where the figures are published."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    name: str
    aliases: tuple[str, ...] = ()
    maker: str
    generation_mode: Literal["autoregressive", "diffusion", "block_diffusion", "hybrid"]
    parameters: _Count | None = None
    active_parameters: _Count | None = None
    shape: Shape | None = None
    weight_bits: dict[str, Annotated[float, Field(gt=0, le=32)]] = {}
    throughput: Throughput | None = None
    sources: Annotated[tuple[str, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _sizes_agree(self) -> Self:
        if self.active_parameters and (not self.parameters or self.active_parameters > self.parameters):
            raise ValueError(f"{self.name}: active_parameters must not exceed parameters")
        return self

    @property
    def tier(self) -> Tier:
        """The size tier; models whose size is not published are `frontier`."""
        for tier, limit in TIER_LIMITS:
            if self.parameters is not None and self.parameters <= limit * 1e9:
                return tier
        return "frontier"

    def weight_bytes(self, quantization: str) -> int | None:
        """Bytes of the weights in a number format of `weight_bits`; None where size or format is not known."""
        bits = self.weight_bits.get(quantization)
        return None if bits is None or self.parameters is None else int(self.parameters * bits / 8)


class Catalogue(BaseModel):
    """All models of one version of the catalogue."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    version: str
    models: tuple[ModelEntry, ...]

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        seen: set[str] = set()
        for entry in self.models:
            for name in (entry.name, *entry.aliases):
                if name in seen:
                    raise ValueError(f"{name} stands twice in the catalogue")
                seen.add(name)
        return self

    def find(self, name: str) -> ModelEntry | None:
        """The model with a name or an alias."""
        return next((entry for entry in self.models if name == entry.name or name in entry.aliases), None)


@cache
def load_catalogue() -> Catalogue:
    """The catalogue that this version ships."""
    from importlib import resources  # noqa: PLC0415  (costs a client's import 10 ms, and it may never be needed)

    raw = resources.files("fleetmeter_schemas").joinpath("catalogue.json").read_bytes()
    return Catalogue.model_validate_json(raw)
