"""Which chunks are believed in, whatever rivals have left in the store."""

from __future__ import annotations

import random

from fleetmeter_jobs.ledger.dedup.chain import select_chain
from fleetmeter_jobs.ledger.dedup.chunks import DAY_US
from fleetmeter_jobs.ledger.dedup.manifest import Kind, Manifest
from fleetmeter_jobs.ledger.position import PartitionId
from hypothesis import given
from hypothesis import strategies as st

PARTITION = PartitionId("usage", 0, 0)


def chunk(first: int, after: int, kind: Kind = Kind.CHUNK, digest: bytes = b"d", day: int = 5) -> Manifest:
    return Manifest(PARTITION, kind, first, after, digest, append_day=day)


def state(after: int, digest: bytes = b"s", ever: int = 0, forgotten_before: int = 0) -> Manifest:
    return Manifest(
        PARTITION, Kind.SEQUENCED, 0, after, digest, identities_ever=ever, forgotten_before=forgotten_before
    )


def test_nothing_is_a_chain_too() -> None:
    chain = select_chain([], 7)
    assert (chain.start, chain.end, chain.links, chain.sequenced) == (7, 7, (), None)
    assert (chain.identities_ever, chain.floor_us) == (0, 0)


def test_it_ends_at_a_state_of_the_sequenced_ids() -> None:
    manifests = [chunk(0, 5), state(5, ever=3), chunk(5, 9), chunk(20, 30), state(30)]
    chain = select_chain(manifests, 0)
    assert (chain.end, chain.links, chain.identities_ever) == (5, (chunk(0, 5),), 3)


def test_of_rivals_the_one_that_reaches_furthest_is_believed() -> None:
    ours = [chunk(0, 5), state(5), chunk(5, 12), state(12)]
    theirs = [chunk(0, 6), state(6), chunk(6, 13), state(13)]
    assert select_chain([*ours, *theirs], 0).links == (chunk(0, 6), chunk(6, 13))
    assert select_chain([*ours, *theirs[:-1]], 0).links == (chunk(0, 5), chunk(5, 12))


def test_chains_of_rivals_may_cross() -> None:
    manifests = [chunk(0, 5), chunk(5, 12), chunk(0, 12), chunk(12, 20), state(20), state(5)]
    assert select_chain(manifests, 0).links == (chunk(0, 12), chunk(12, 20))


def test_a_forgotten_chunk_is_a_link_and_sets_a_floor() -> None:
    gone = chunk(0, 5, Kind.FORGOTTEN, day=3)
    chain = select_chain([chunk(0, 5, day=3), gone, chunk(5, 9), state(9)], 0)
    assert (chain.links, chain.chunks) == ((gone, chunk(5, 9)), (chunk(5, 9),))
    # Accepted on day 3 at the latest, with a time up to a day ahead of it.
    assert chain.floor_us == 5 * DAY_US


def test_forgotten_producers_set_a_floor() -> None:
    assert select_chain([chunk(0, 5), state(5, forgotten_before=8)], 0).floor_us == 9 * DAY_US


edges = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 5)), max_size=25)


@given(edges, st.sets(st.integers(1, 17)), st.randoms(use_true_random=False))
def test_it_is_gapless_furthest_and_the_same_for_all(
    made: list[tuple[int, int]], states: set[int], rng: random.Random
) -> None:
    manifests = [chunk(first, first + length) for first, length in made] + [state(offset) for offset in states]
    chain = select_chain(manifests, 0)
    offsets = [0, *(link.next_offset for link in chain.links)]
    assert [link.first_offset for link in chain.links] == offsets[:-1]
    assert chain.end == offsets[-1]
    # Every offset that can be reached, found in the slowest way.
    reachable = {0}
    for _ in made:
        reachable |= {first + length for first, length in made if first in reachable}
    assert chain.end == max((offset for offset in reachable if offset in states), default=0)
    rng.shuffle(manifests)
    assert select_chain(manifests, 0) == chain
