"""The senders of the simulated fleet: their names, their ids, and the requests that servers answer."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final, Literal
from uuid import UUID

from fleetmeter_producers.simulator.accounts import ActorKind
from fleetmeter_producers.simulator.config import SimulationConfig, WireFormat
from fleetmeter_producers.simulator.draws import chance, pick
from fleetmeter_producers.simulator.generation_parts import Site
from fleetmeter_producers.simulator.generations import MAKERS
from fleetmeter_producers.simulator.planned import Body
from fleetmeter_producers.ulid import ulid_of

IdKind = Literal["sequenced", "single", "uuid"]

# One server of each kind at least, then in these proportions.
_KINDS: Final[tuple[ActorKind, ...]] = (
    *("parallel", "denoising", "blocks", "sequential", "hybrid", "gateway"),
    *("sequential", "parallel", "denoising", "sequential", "blocks", "gateway"),
)
REGIONS: Final = ("eu-west", "us-east", "us-west", "ap-south")
_ACCELERATORS: Final = ("h100", "h200", "b200", "mi300x")
_RESTART_RATE: Final = 1 / 20_000


@dataclass(slots=True)
class Identity:
    """Who sends, in which wire format, and the ids it gives: sequenced ones of a process that lasts (`sequenced`) or
    of one that reports once and ends (`single`), or UUIDs (`uuid`)."""

    source: str
    ids: IdKind
    wire_format: WireFormat
    key: bytes = field(init=False)
    _ulid: str = field(default="", init=False)
    _sequence: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.key = self.source.encode()

    def next_id(self, rng: Random, now_us: int) -> str:
        """The next id; now and then the process behind it restarts, and begins a new incarnation."""
        if self.ids == "uuid":
            return str(UUID(int=rng.getrandbits(128), version=4))
        if not self._ulid or self.ids == "single" or rng.random() < _RESTART_RATE:
            self._ulid, self._sequence = ulid_of(now_us // 1000, rng.getrandbits(80)), 0
        sequence = self._sequence
        self._sequence = sequence + 1
        return f"{self._ulid}-{sequence}"


@dataclass(slots=True)
class Pool:
    """A limited number of different turns, made when they first come: events are cheap to make, and still differ. The
    bodies of a turn are one generation, or a fallback and a generation."""

    make: Callable[[], tuple[Body, ...]]
    limit: int
    _bodies: list[tuple[Body, ...]] = field(default_factory=list)

    def draw(self, rng: Random) -> tuple[Body, ...]:
        """A new turn until there are enough, then one of them."""
        if len(self._bodies) < self.limit:
            self._bodies.append(self.make())
            return self._bodies[-1]
        return pick(rng, self._bodies)


@dataclass(slots=True)
class Server:
    """A server or gateway, and what it does with requests."""

    identity: Identity
    turns: Pool


class Names:
    """Makes identities, each with its wire format and kind of id for good."""

    def __init__(self, rng: Random, config: SimulationConfig) -> None:
        self._rng = rng
        self._foreign_rate = config.foreign_rate
        self._formats: tuple[WireFormat, ...] = tuple(config.wire_formats)
        self._shares = list(itertools.accumulate(config.wire_formats.values()))

    def identity(self, name: str, ids: IdKind | None = None) -> Identity:
        """The identity `urn:fleetmeter:simulated:<name>`."""
        if ids is None:
            ids = "uuid" if chance(self._rng, self._foreign_rate) else "sequenced"
        wire_format = self._rng.choices(self._formats, cum_weights=self._shares)[0]
        return Identity(f"urn:fleetmeter:simulated:{name}", ids, wire_format)


def make_servers(rng: Random, names: Names, config: SimulationConfig) -> dict[ActorKind, list[Server]]:
    """The servers, by kind. Each has its region, hardware and model for good."""
    servers: dict[ActorKind, list[Server]] = {}
    for number in range(config.servers):
        kind = _KINDS[number % len(_KINDS)]
        region = pick(rng, REGIONS)
        identity = names.identity(f"{region}:{kind}-{number:03}")
        same_kind = servers.setdefault(kind, [])
        site = Site(rng, region, pick(rng, _ACCELERATORS), len(same_kind))
        same_kind.append(Server(identity, Pool(MAKERS[kind](site), config.bodies_per_server)))
    return servers
