"""How one provider reports usage: what its numbers mean, how they are read, and where that is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fleetmeter_schemas.events import GenerationMode

from fleetmeter_producers.gateway.answer import Answer
from fleetmeter_producers.gateway.block import Block


@dataclass(frozen=True, slots=True)
class Convention:
    """One provider's API.

    `digest` finds usage and facts in an answer, a chunk of a stream, or a bare usage block; `read` turns the usage
    block into measures of `GenerationV1`. `cached`, `reasoning` and `stream` say in words what the numbers mean;
    `sources` where that is written. `provider` and `generation_mode` are the event's, where the API has but one.
    """

    name: str
    title: str
    provider: str
    cached: str
    reasoning: str
    stream: str
    sources: tuple[str, ...]
    digest: Callable[[Block], Answer]
    read: Callable[[Block], dict[str, Any]]
    generation_mode: GenerationMode | None = None
