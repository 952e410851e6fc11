"""Which arm of an experiment an account is in: a hash decides, so that nobody keeps a list, and nobody can choose.

The hash is BLAKE2b-128 of (salt, account), each with its length before it, as a number h below 2^128. Arms divide that
range in the order of their names, each as long as its weight; so the share of an arm is exact, to 1 in 2^128, and
moving an arm within the card moves no account. It never changes: bills depend on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from fleetmeter_billing.rates.plan import Experiment

HASH_BITS = 128


def position_of(salt: str, account: str) -> int:
    """Where in [0, 2^128) an account falls."""
    digest = hashlib.blake2b(digest_size=HASH_BITS // 8)
    for text in (salt, account):
        raw = text.encode()
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return int.from_bytes(digest.digest(), "big")


def arm_at(experiment: Experiment, position: int) -> str:
    """The name of the arm that a position in [0, 2^128) belongs to."""
    total = sum(arm.weight for arm in experiment.arms.values())
    # Whole numbers all the way, so that no rounding moves anybody.
    left = (position * total) >> HASH_BITS
    for name in sorted(experiment.arms):
        left -= experiment.arms[name].weight
        if left < 0:
            return name
    raise ValueError(f"{position} is not below 2^{HASH_BITS}")


def arm_of(experiment: Experiment, account: str) -> str:
    """The name of the account's arm."""
    return arm_at(experiment, position_of(experiment.salt, account))


def plan_in(experiments: Iterable[Experiment], plan: str, account: str) -> str:
    """The plan that an account subscribed to `plan` has: its arm's, if an experiment is on that plan.

    A card has at most one experiment on a plan, and an arm's plan is final, whatever experiment is on that one.
    """
    for experiment in experiments:
        if experiment.on == plan:
            return experiment.arms[arm_of(experiment, account)].plan
    return plan
