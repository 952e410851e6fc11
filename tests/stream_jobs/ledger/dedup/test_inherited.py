"""What a partition has to know of others' closed epochs, once sources may have moved."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from fleetmeter_doubles.dedup_world import DAY, HASH_KEY, DedupWorld
from fleetmeter_doubles.toy_core import ToyCore
from fleetmeter_doubles.toy_dedup import TOY_NATIVE, fingerprint
from fleetmeter_jobs.ledger import PartitionId
from fleetmeter_jobs.ledger.decisions import Batch, Decided, decide, plan_growth_step
from fleetmeter_jobs.ledger.dedup.chunks import DAY_US
from fleetmeter_jobs.ledger.dedup.expiry import expire
from fleetmeter_jobs.ledger.dedup.housekeeping import keep
from fleetmeter_jobs.ledger.dedup.restore import Restored, restore
from fleetmeter_jobs.ledger.errors import DedupMovedError
from fleetmeter_jobs.ledger.growth import FENCE
from fleetmeter_jobs.partition_ledger import PartitionLedger
from fleetmeter_jobs.settings import Settings

NEW = 4


def close(world: DedupWorld) -> None:
    change = plan_growth_step(FENCE, world.partition, world.position, "growth.grow.3")
    assert isinstance(decide(world.store, change, Batch(), "ana", "it grows", world.context()), Decided)


def new_partition(other: DedupWorld) -> DedupWorld:
    return replace(other, partition=PartitionId(other.partition.topic, NEW, 0), log_start=0, accepted={})


def restored(world: DedupWorld, other: DedupWorld) -> Restored:
    at = world.store.position(other.partition)
    assert at is not None
    assert at.successor is not None
    return restore(
        world.store,
        ToyCore,
        TOY_NATIVE,
        world.partition,
        world.position,
        world.rule,
        2**30,
        [(other.partition, at)],
    )


def test_other_partitions_ids_are_known_in_whatever_form(world: DedupWorld) -> None:
    world.fill([DAY, DAY + 1])
    world.commit([b"f-tail", b"s-tail"], DAY + 2)
    first = world.closed()[0]
    world.keep(first)
    close(world)
    here = new_partition(world)
    here.commit([b"f-own", b"s-own"], DAY + 2)
    found = restored(here, world)
    assert len(found.book.cold) == 1
    assert {exact.chunk.partition for exact in found.book.closed} == {world.partition}
    assert found.cutter.open.partition == here.partition
    world.assert_remembered(found, DAY + 2)
    here.assert_remembered(restored(here, world), DAY + 2)


def test_its_chunks_are_sealed_after_ones_own_and_by_whoever_comes_first(toy_world: DedupWorld) -> None:
    toy_world.fill([DAY])
    close(toy_world)
    here = new_partition(toy_world)
    here.fill([DAY], a_day=24)
    own, *_, others = (exact.chunk for exact in restored(here, toy_world).book.closed)
    assert (own.partition, others.partition) == (here.partition, toy_world.partition)
    starts = {toy_world.partition: toy_world.log_start, here.partition: 0}
    for _ in range(2):
        kept = keep(here.store, TOY_NATIVE, HASH_KEY, others, starts, NEW, DAY + 90, here.context())
        assert kept.floor_us > kept.forgotten_before * DAY_US, "what its worker forgets now, it refuses from now on"
    again = restored(here, toy_world)
    assert again.book.cold[0].manifest.partition == toy_world.partition, "its own time decides what it forgets"
    assert len(list(here.store.blobs(toy_world.partition, 2**62))) == 0
    toy_world.assert_remembered(again, DAY + 1)


def test_what_was_counted_twice_before_does_not_stop_it(
    toy_world: DedupWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """A foreign producer spread one source over partitions, before any were added."""
    toy_world.commit([b"s-both", b"s-there"], DAY)
    close(toy_world)
    here = new_partition(toy_world)
    here.commit([b"s-both", b"s-here"], DAY)
    found = restored(here, toy_world)
    assert here.asked(found, [b"s-both", b"s-there", b"s-here"], DAY) == (0, 3, 0)
    assert "1 events were counted in more than one partition" in caplog.text


def test_its_time_does_not_hurry_ones_own(toy_world: DedupWorld) -> None:
    toy_world.fill([DAY + 50])
    close(toy_world)
    here = new_partition(toy_world)
    here.fill([DAY])
    assert restored(here, toy_world).book.append_us < (DAY + 1) * 86_400_000_000


def test_a_chunk_that_its_owner_has_forgotten_is_not_taken_for_unknown(world: DedupWorld) -> None:
    world.fill([DAY])
    world.seal_all()
    close(world)
    here = new_partition(world)
    found = restored(here, world)
    ledger = PartitionLedger(
        here.store, here.partition.topic, NEW, Settings(), lambda: "topic-id", native=lambda: TOY_NATIVE
    )
    asked = [(found.book.cold[0].manifest, fingerprint(b"f%d-0" % DAY))]
    assert ledger.look_up(asked, DAY * 86_400_000, threading.Event()) == asked[0][1]
    expire(here.store, world.partition, world.log_start, DAY + 40, world.context())
    with pytest.raises(DedupMovedError, match="was forgotten while ids were looked up"):
        ledger.look_up(asked, DAY * 86_400_000, threading.Event())
    again = restored(here, world)
    assert again.core.floor_us > DAY * 86_400_000_000
    assert here.asked(again, [b"f%d-0" % DAY], DAY + 1) == (0, 0, 1)
