"""What happens around generation: outcomes and their reversals, jobs, and operators' corrections."""

from __future__ import annotations

from random import Random
from typing import Any, Final, NamedTuple

from fleetmeter_schemas.events import AdjustmentV1, JobV1, OutcomeV1

from fleetmeter_producers.simulator.accounts import Account
from fleetmeter_producers.simulator.draws import chance, pick
from fleetmeter_producers.simulator.planned import NOBODY, Body, Subjects
from fleetmeter_producers.simulator.servers import Identity, Names

_OUTCOMES: Final = (("ticket_resolved", 250), ("document_drafted", 900), ("lead_qualified", 1_500))
_MANY: Final = 100


class Offices(NamedTuple):
    """Who sends them: the customers' applications, the training service, the operator's desk."""

    applications: tuple[Identity, ...]
    training: Identity
    desk: Identity

    @classmethod
    def of(cls, names: Names) -> Offices:
        """A few applications, one training service, and a desk whose ids are UUIDs."""
        applications = tuple(names.identity(f"application-{number}") for number in range(4))
        return cls(applications, names.identity("training"), names.identity("operator-desk", "uuid"))


def business_event(
    rng: Random, account: Account, offices: Offices, now_us: int
) -> tuple[Identity, str, Body, Subjects]:
    """Sender, id, body and subjects of the next such event."""
    kind = rng.random()
    if kind < 0.75:
        identity = pick(rng, offices.applications)
        event_id = identity.next_id(rng, now_us)
        return identity, event_id, *_outcome(rng, account, event_id)
    if kind < 0.99:
        return offices.training, offices.training.next_id(rng, now_us), _job(rng), NOBODY
    return offices.desk, offices.desk.next_id(rng, now_us), _adjustment(rng), NOBODY


def _outcome(rng: Random, account: Account, event_id: str) -> tuple[Body, Subjects]:
    name, value = pick(rng, _OUTCOMES)
    subjects = pick(rng, account.callers)
    fields: dict[str, Any] = {"quantity": 1, "value_minor": value, "currency": "EUR"}
    if account.outcome_ids and chance(rng, 0.05):
        fields["reverses"] = account.outcome_ids.pop()
    elif len(account.outcome_ids) < _MANY:
        account.outcome_ids.append(event_id)
    return Body.of(OutcomeV1, {"name": name, **fields}), subjects


def _job(rng: Random) -> Body:
    gpu_ms = rng.randint(60_000, 40_000_000)
    fields: dict[str, Any] = {"kind": "premium_feature", "feature": "priority_support", "units": rng.randint(1, 20)}
    if chance(rng, 0.7):
        fields = {
            "kind": pick(rng, ("fine_tuning", "distillation", "evaluation")),
            "base_model": pick(rng, ("llama-3.2-3b", "mistral-7b", "phi-4")),
            "result_model": f"custom-{rng.randint(1, 99)}",
            "training_tokens": rng.randint(100_000, 500_000_000),
            "gpu_ms": gpu_ms,
            "matrix_gflop": gpu_ms * 300,
        }
    return Body.of(JobV1, {**fields, "status": "ok"})


def _adjustment(rng: Random) -> Body:
    amount = rng.randint(1, 50_000)
    fields = {
        "meter": pick(rng, ("output_tokens", "denoising_steps", "requests")),
        "quantity": -amount if chance(rng, 0.8) else amount,
        "reason": "Goodwill after a disturbance.",
        "reference": f"TICKET-{rng.randint(1000, 9999)}",
    }
    return Body.of(AdjustmentV1, fields)
