"""The stream of records that a simulated fleet sends: a pure function of the config and the time of its end."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from random import Random
from typing import Final

import orjson

from fleetmeter_producers.simulator.accounts import Account, ActorKind, make_accounts
from fleetmeter_producers.simulator.batches import Batches, Emission
from fleetmeter_producers.simulator.business import Offices, business_event
from fleetmeter_producers.simulator.config import SimulationConfig
from fleetmeter_producers.simulator.device_reports import device_report
from fleetmeter_producers.simulator.draws import pick
from fleetmeter_producers.simulator.malformed import MALFORMATIONS, Fit, Malformation, Sample
from fleetmeter_producers.simulator.planned import Body, Broken, Planned, Record, Subjects
from fleetmeter_producers.simulator.servers import REGIONS, Identity, Names, Server, make_servers
from fleetmeter_producers.wire import encode_event

_LATE_FROM_S: Final = 180  # beyond the lateness that workers wait for before they call a minute complete
_REMEMBERED: Final = 1_024  # events of which a duplicate may come
_REMEMBER_EVERY: Final = 8
_DRAWN_AT_ONCE: Final = 1_024
_NO_DETAILS: Final[dict[str, str]] = {}


def records(config: SimulationConfig, end_us: int) -> Iterator[Record]:
    """The records in the order of sending. Same config and end: same bytes."""
    return _Fleet(config, end_us).records()


class _Fleet:
    def __init__(self, config: SimulationConfig, end_us: int) -> None:
        self._config = config
        self._rng = rng = Random(config.seed)  # noqa: S311  (must be repeatable, not secret)
        self._end_us = end_us
        names = Names(rng, config)
        self._accounts = make_accounts(rng, config.accounts)
        self._servers = make_servers(rng, names, config)
        self._relays = [names.identity(f"{region}:device-relay", "single") for region in REGIONS]
        self._offices = Offices.of(names)
        self._pending: deque[Emission] = deque()
        self._recent: list[Emission] = []
        self._number = 0

    def records(self) -> Iterator[Record]:
        batches = Batches(self._config.batch_events)
        for emission in self._emissions():
            record = batches.add(emission)
            if record is not None:
                yield record
        yield from batches.rest()

    def _emissions(self) -> Iterator[Emission]:
        config, rng = self._config, self._rng
        span_us, count = config.span_s * 1_000_000, config.events
        broken_below = config.malformed_rate
        again_below = broken_below + config.duplicate_rate
        turns, malformations = self._turns(), self._malformations()
        for index in range(count):
            now_us = self._end_us - span_us + span_us * (index + 1) // count
            fate = rng.random()
            if fate < broken_below:
                yield self._broken(next(malformations), now_us)
            elif fate < again_below and self._recent:
                yield pick(rng, self._recent)
            else:
                emission = self._pending.popleft() if self._pending else self._good(*next(turns), now_us)
                self._remember(emission)
                yield emission

    def _turns(self) -> Iterator[tuple[Account, ActorKind]]:
        """Who does something next, by the accounts' volumes and appetites."""
        turns = [(account, kind) for account in self._accounts for kind in account.appetite]
        weights = list(itertools.accumulate(account.weight * account.appetite[kind] for account, kind in turns))
        while True:
            yield from self._rng.choices(turns, cum_weights=weights, k=_DRAWN_AT_ONCE)

    def _malformations(self) -> Iterator[Malformation]:
        """All kinds once, then all once more in another order, and so on."""
        while True:
            yield from self._rng.sample(MALFORMATIONS, len(MALFORMATIONS))

    def _remember(self, emission: Emission) -> None:
        """Keep some of the recent events, for duplicates of them."""
        if len(self._recent) < _REMEMBERED:
            self._recent.append(emission)
        elif self._number % _REMEMBER_EVERY == 0:
            self._recent[int(self._rng.random() * _REMEMBERED)] = emission

    def _good(self, account: Account, kind: ActorKind, now_us: int) -> Emission:
        rng = self._rng
        if kind == "gateway":
            return self._fallback(account, pick(rng, self._servers[kind]), now_us)
        time_us, late = self._when(now_us)
        if kind == "device":
            identity = pick(rng, self._relays)
            body, subjects = device_report(rng, account, time_us)
            event_id = identity.next_id(rng, now_us)
        elif kind == "business":
            identity, event_id, body, subjects = business_event(rng, account, self._offices, now_us)
        else:
            server = pick(rng, self._servers[kind])
            (body,), identity, subjects = server.turns.draw(rng), server.identity, pick(rng, account.callers)
            event_id = identity.next_id(rng, now_us)
        return self._planned(identity, event_id, account, body, subjects, _NO_DETAILS, time_us, late)

    def _fallback(self, account: Account, server: Server, now_us: int) -> Emission:
        """A local attempt that failed, and the cloud's generation, each of which names the other."""
        rng, identity = self._rng, server.identity
        attempt_id, generation_id = identity.next_id(rng, now_us), identity.next_id(rng, now_us)
        subjects = pick(rng, account.device_callers)
        time_us, late = self._when(now_us)
        attempt, generation = server.turns.draw(rng)
        # For each query that left a device, so many others stayed there.
        account.owed_queries += account.local_share / (1 - account.local_share)
        names_generation, names_attempt = {"generation_id": generation_id}, {"parent_id": attempt_id}
        first = self._planned(identity, attempt_id, account, attempt, subjects, names_generation, time_us, late)
        self._pending.append(
            self._planned(identity, generation_id, account, generation, subjects, names_attempt, time_us, late)
        )
        return first

    def _when(self, now_us: int) -> tuple[int, bool]:
        config, rng = self._config, self._rng
        fate = rng.random()
        if fate < config.late_rate:
            return now_us - int(rng.uniform(_LATE_FROM_S, config.late_limit_s) * 1_000_000), True
        if fate < config.late_rate + config.disorder_rate:
            return now_us - int(rng.random() * config.disorder_limit_s * 1_000_000), False
        return now_us, False

    def _planned(
        self,
        identity: Identity,
        event_id: str,
        account: Account,
        body: Body,
        subjects: Subjects,
        details: dict[str, str],
        time_us: int,
        late: bool,
    ) -> Emission:
        tail = b"," + orjson.dumps(details)[1:] if details else b"}"
        data = orjson.Fragment(body.head + subjects.tail + tail)
        value = encode_event(body.type_name, event_id, identity.source, account.name, time_us, data)
        item = Planned(self._number, body, subjects, details, account.name, identity.source, event_id, time_us, late)
        self._number += 1
        return Emission(identity, item, value, Fit.ELEMENT)

    def _broken(self, malformation: Malformation, now_us: int) -> Emission:
        rng = self._rng
        server = pick(rng, self._servers["sequential"])
        account = pick(rng, self._accounts)
        # An id of its own kind: refused events must leave no hole in a server's sequence.
        event_id = f"broken-{rng.getrandbits(64):016x}"
        data = orjson.Fragment(server.turns.draw(rng)[0].head + b"}")
        good = encode_event("fleetmeter.generation.v1", event_id, server.identity.source, account.name, now_us, data)
        sample = Sample(good, self._end_us, self._config.event_limit_bytes)
        return Emission(server.identity, Broken(malformation.reason), malformation.make(sample), malformation.fit)
