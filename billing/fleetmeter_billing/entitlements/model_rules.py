"""Which models a plan lets onto devices, and which it lets answer in the cloud. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property

from fleetmeter_schemas.catalogue import Catalogue

from fleetmeter_billing.rates.plan import Entitlements

UNSTATED = Entitlements()
"""The entitlements of a plan that says nothing of them: nothing is held against its customers."""


@dataclass(frozen=True)
class ModelRules:
    """The rules of one plan. `derived` leads from a model that the customer made (by a fine-tuning job) to its base."""

    entitlements: Entitlements
    catalogue: Catalogue
    derived: Mapping[str, str] = field(default_factory=dict)

    def refuses_download(self, model: str) -> str | None:
        """Why the model may not be on the customer's devices, in a sentence; None if it may.

        It may if the plan has its size tier, or names it (or its pattern, such as `acme/*`), or the model that it was
        made from.
        """
        if self.entitlements == UNSTATED:
            return None
        base = self._base_of(model)
        for name in dict.fromkeys((model, base)):
            if _named(self.entitlements.models, self._names_of(name)) or self._tier_of(name) in self._tiers:
                return None
        tier = self._tier_of(base)
        if tier is None:
            return f"{model} is not in the model catalogue, and the plan does not name it"
        allowed = ", ".join(self.entitlements.model_tiers) or "no size tier"
        return f"{model} is of size tier {tier}; the plan has {allowed}, and does not name the model"

    def refuses_fallback(self, model: str) -> str | None:
        """Why queries may not fall back to this cloud model; None if they may."""
        if self.entitlements == UNSTATED or _named(self.entitlements.fallback_models, self._names_of(model)):
            return None
        allowed = ", ".join(self.entitlements.fallback_models) or "none"
        return f"queries fell back to {model}; the plan's cloud fallbacks: {allowed}"

    def refuses_feature(self, feature: str) -> str | None:
        """Why a job or premium feature may not be used; None if it may."""
        if self.entitlements == UNSTATED or feature in self.entitlements.features:
            return None
        return f"{feature} is not among the plan's features: {', '.join(self.entitlements.features) or 'none'}"

    def downloadable(self) -> list[str]:
        """The models of the catalogue, by name, that may be downloaded. Empty for a plan that states nothing."""
        if self.entitlements == UNSTATED:
            return []
        return sorted(one.name for one in self.catalogue.models if self.refuses_download(one.name) is None)

    @cached_property
    def _tiers(self) -> frozenset[str]:
        return frozenset(self.entitlements.model_tiers)

    def _base_of(self, model: str) -> str:
        seen = {model}
        while (base := self.derived.get(model)) is not None and base not in seen:
            seen.add(base)
            model = base
        return model

    def _names_of(self, model: str) -> Sequence[str]:
        entry = self.catalogue.find(model)
        return (model,) if entry is None else (model, entry.name, *entry.aliases)

    def _tier_of(self, model: str) -> str | None:
        entry = self.catalogue.find(model)
        return None if entry is None else entry.tier


def _named(patterns: Sequence[str], names: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)
