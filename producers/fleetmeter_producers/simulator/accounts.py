"""The customers of the simulated fleet: how much each one asks, of what, by whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Final, Literal

from fleetmeter_producers.simulator.draws import chance, pick, zipf_weights
from fleetmeter_producers.simulator.planned import Subjects

ActorKind = Literal["parallel", "denoising", "blocks", "sequential", "hybrid", "gateway", "device", "business"]

# What the fleet does, in shares of its events. A gateway's turn makes two: a fallback and the cloud's generation.
ACTOR_SHARES: Final[dict[ActorKind, float]] = {
    "parallel": 0.18,
    "denoising": 0.16,
    "blocks": 0.14,
    "sequential": 0.24,
    "hybrid": 0.06,
    "gateway": 0.10,
    "device": 0.07,
    "business": 0.05,
}
DEVICE_CLASSES: Final = (
    # class, memory bandwidth in 10^6 bytes/s, local model, its number format
    ("phone-midrange", 34_000, "llama-3.2-1b", "q4_0"),
    ("phone-flagship", 77_000, "llama-3.2-3b", "q4_k_m"),
    ("laptop-16gb", 120_000, "phi-4-mini", "q4_k_m"),
    ("laptop-32gb", 273_000, "mistral-7b", "q4_k_m"),
)


@dataclass(slots=True)
class Installation:
    """One app on one device. Its id is random and stable; nothing in it points to a person."""

    id: str
    device_class: str
    bandwidth_mbps: int
    model: str
    quantization: str
    version: int = 1


@dataclass(slots=True)
class Account:
    """One customer. `local_share` is the part of its queries that its devices answer themselves; `owed_queries` are
    those that no device has reported yet."""

    name: str
    weight: float
    appetite: dict[ActorKind, float]
    local_share: float
    callers: list[Subjects]
    device_callers: list[Subjects]
    deployed: list[Installation]
    downloaded: list[Installation] = field(default_factory=list)
    owed_queries: float = 0.0
    outcome_ids: list[str] = field(default_factory=list)


def make_accounts(rng: Random, count: int) -> list[Account]:
    """Accounts from the largest to the smallest."""
    return [_account(rng, number, weight) for number, weight in enumerate(zipf_weights(count), start=1)]


def new_installation(rng: Random) -> Installation:
    """A fresh installation."""
    device_class, bandwidth, model, quantization = pick(rng, DEVICE_CLASSES)
    return Installation(f"i-{rng.getrandbits(64):016x}", device_class, bandwidth, model, quantization)


def _account(rng: Random, number: int, weight: float) -> Account:
    # Some customers have everything on devices, some nothing; each leans to some kind of server.
    on_devices = rng.uniform(0.5, 2.0) if chance(rng, 0.7) else 0.0
    appetite = {
        kind: share * (on_devices if kind in {"gateway", "device"} else rng.uniform(0.2, 2.0))
        for kind, share in ACTOR_SHARES.items()
    }
    people = 2 + int(400 * weight)
    deployed = [new_installation(rng) for _ in range(1 + int(people * 0.8))]
    callers, device_callers = [], []
    for person in range(people):
        user = f"u-{number:04}-{person:04}"
        for conversation in range(rng.randint(1, 6)):
            who = {"user": user, "conversation": f"c-{rng.getrandbits(48):012x}-{conversation}"}
            callers.append(Subjects.of(who))
            device_callers.append(Subjects.of({**who, "installation": pick(rng, deployed).id}))
    return Account(
        name=f"account-{number:04}",
        weight=weight,
        appetite=appetite,
        local_share=rng.uniform(0.82, 0.94),
        callers=callers,
        device_callers=device_callers,
        deployed=deployed,
    )
