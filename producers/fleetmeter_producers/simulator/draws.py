"""The distributions of the simulated fleet: pure functions of a source of chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Final, TypeVar

MAX_STEPS_PER_BLOCK: Final = 48
_LN_SIGMA_TO_P90: Final = 1.2816  # the 90th percentile of a standard normal
T = TypeVar("T")


def steps_of_block(rng: Random) -> int:
    """Denoising steps of one block out of at most 48: bimodal, with p10 / median / p90 of about 10 / 23 / 48.

    Most blocks are sure of all their tokens early, around 20 steps; a quarter never are and use up the schedule.
    """
    if rng.random() < 0.24:
        return MAX_STEPS_PER_BLOCK
    return min(max(round(rng.gauss(20.0, 8.2)), 3), 44)


def steps_of_answer(rng: Random, *, complex_query: bool) -> int:
    """Denoising steps of a whole answer of any length: 5 to 10 for a simple query, 20 to 30 for a complex one."""
    return rng.randint(20, 30) if complex_query else rng.randint(5, 10)


def tokens(rng: Random, median: int, p90: int, limit: int) -> int:
    """A number of tokens, log-normal with a median and a 90th percentile, from 1 to a limit."""
    sigma = math.log(p90 / median) / _LN_SIGMA_TO_P90
    return min(max(round(rng.lognormvariate(math.log(median), sigma)), 1), limit)


def parallel_tokens_per_s(rng: Random, published: int) -> float:
    """Speed of a Mercury-like server: a little below its published figure, within 700 to 1,100 tokens/s."""
    return min(max(published * rng.uniform(0.92, 1.0), 700.0), 1100.0)


def sequential_tokens_per_s(rng: Random) -> float:
    """Speed of an autoregressive server: about 100 tokens/s."""
    return min(max(rng.gauss(100.0, 12.0), 60.0), 140.0)


def zipf_weights(count: int, exponent: float = 1.1) -> list[float]:
    """Weights of ranks 1 to count by Zipf's law."""
    return [1 / rank**exponent for rank in range(1, count + 1)]


def pick(rng: Random, options: Sequence[T]) -> T:
    """One of the options, all alike; several times faster than `choice`."""
    return options[int(rng.random() * len(options))]


def chance(rng: Random, share: float) -> bool:
    """True in a share of cases."""
    return rng.random() < share
