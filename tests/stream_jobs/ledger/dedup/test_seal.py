"""Sealed chunks: what was counted before is found again, blobs are gone, and nothing else of the ledger is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fleetmeter_doubles import MemoryLedger
from fleetmeter_doubles.dedup_world import DAY, DedupWorld
from fleetmeter_doubles.toy_dedup import fingerprint
from fleetmeter_jobs.ledger.dedup.manifest import Kind
from fleetmeter_jobs.ledger.dedup.seal import read_chain
from fleetmeter_jobs.ledger.errors import DedupMovedError, DedupStateError


def blobs(world: DedupWorld) -> list[tuple[int, int]]:
    return [(blob.first_offset, blob.next_offset) for blob in world.store.blobs(world.partition, 2**62)]


def test_everything_is_remembered_after_seals(world: DedupWorld) -> None:
    world.fill(range(DAY, DAY + 4))
    before, tallies = world.position, world.store.tallies()
    sealed = world.seal_all()
    assert len(sealed) == 4
    assert [kept.sealed.manifest.foreign_ids for kept in sealed] == [12, 12, 12, 12]
    restored = world.restore()
    stats = restored.core.stats()
    assert (stats["filtered_ids"], stats["foreign_ids"], stats["sequenced_events"]) == (48, 0, 24)
    assert restored.identities == 72
    world.assert_remembered(restored, DAY + 20)
    assert blobs(world) == []
    assert world.position == before
    assert world.store.tallies() == tallies


def test_what_is_committed_after_a_seal_joins_it(world: DedupWorld) -> None:
    world.fill([DAY])
    world.seal_all()
    world.fill([DAY + 1, DAY + 2])
    world.commit([b"f-last", b"s-last"], DAY + 2)
    restored = world.restore()
    assert restored.core.stats()["foreign_ids"] == 25
    assert [exact.chunk.foreign_ids for exact in restored.book.closed] == [12, 12]
    assert restored.cutter.open.foreign_ids == 1
    world.assert_remembered(restored, DAY + 2)
    world.seal_all()
    world.assert_remembered(world.restore(), DAY + 30)


def test_ids_are_rows_and_others_are_not(world: DedupWorld) -> None:
    world.fill([DAY, DAY + 1])
    kept = world.seal_all()
    ids = [fingerprint(b"f%d-%d" % (DAY, n)) for n in range(12)]
    first, second = kept[0].sealed.manifest, kept[1].sealed.manifest
    asked = b"".join(ids[3:7]) + fingerprint(b"f-other")
    known = world.store.known_ids(world.partition, first.first_offset, first.next_offset, asked)
    assert sorted(known[at : at + 16] for at in range(0, len(known), 16)) == sorted(ids[3:7])
    assert world.store.known_ids(world.partition, second.first_offset, second.next_offset, asked) == b""
    assert world.store.known_ids(replace(world.partition, epoch=1), first.first_offset, first.next_offset, asked) == b""


def test_sealing_again_changes_nothing(world: DedupWorld) -> None:
    world.fill([DAY])
    (chunk,) = world.closed()
    first = world.keep(chunk)
    again = world.keep(chunk)
    assert again.sealed == first.sealed
    assert len(world.store.manifests(world.partition)) == 2


def test_older_states_of_sequenced_ids_are_deleted(world: DedupWorld) -> None:
    world.fill(range(DAY, DAY + 5))
    world.seal_all()
    states = [one for one in world.store.manifests(world.partition) if one.kind is Kind.SEQUENCED]
    assert [(one.next_offset, one.identities_ever) for one in states] == [(world.position.next_offset, 90)]


def test_a_chunk_of_sequenced_ids_alone_is_a_link(world: DedupWorld) -> None:
    world.commit([b"s1", b"s2"], DAY)
    world.commit([b"s3"], DAY + 1)
    world.seal_all()
    restored = world.restore()
    assert blobs(world) == []
    assert restored.core.stats()["chunks"] == 1, "nothing to look up, so only the current one"
    world.assert_remembered(restored, DAY + 1)


def test_the_budget_of_filters_goes_to_the_newest(world: DedupWorld) -> None:
    world.fill(range(DAY, DAY + 4))
    kept = world.seal_all()
    newest = kept[-1].sealed.manifest.filter_bytes + kept[-2].sealed.manifest.filter_bytes
    restored = world.restore(filter_limit_bytes=newest)
    stats = restored.core.stats()
    assert (stats["filtered_ids"], stats["hourly_ids"]) == (24, 24)
    # By hour: a resend with its own time is a duplicate, one with another time is not recognized.
    hours_ago = 20 * 24
    old = [b"f%d-1@%d" % (day, hours_ago - 24 * (day - DAY)) for day in range(DAY, DAY + 4)]
    assert world.asked(restored, old, DAY + 20) == (0, 4, 0)
    changed = [b"f%d-2@%d" % (day, 7) for day in range(DAY, DAY + 4)]
    assert world.asked(restored, changed, DAY + 20) == (2, 2, 0)


def test_a_chunk_out_of_turn_is_refused(world: DedupWorld) -> None:
    world.fill([DAY, DAY + 1])
    _, second = world.closed()
    with pytest.raises(DedupMovedError, match="ends at 7"):
        world.keep(second)
    assert len(blobs(world)) == 6


def test_a_rival_that_cut_elsewhere_was_faster(world: DedupWorld) -> None:
    world.fill([DAY, DAY + 1])
    chunks = world.closed()
    rival = replace(world, rule=replace(world.rule, ids=3))
    rival.seal_all()
    with pytest.raises(DedupMovedError, match="others cut elsewhere"):
        world.keep(chunks[0])
    restored = world.restore()
    assert restored.book.closed == []
    world.assert_remembered(restored, DAY + 1)


def test_blobs_that_repeat_an_id_are_not_sealed(toy_world: DedupWorld) -> None:
    toy_world.commit([b"f1", b"f2"], DAY)
    toy_world.commit([b"f1"], DAY + 1)  # counted twice: the ledger is wrong, and must stay as evidence
    cutter_sees = toy_world.closed
    with pytest.raises(DedupStateError, match="an event was counted twice"):
        cutter_sees()


def test_blobs_that_are_not_those_that_were_committed_stay(toy_world: DedupWorld, memory: MemoryLedger) -> None:
    toy_world.fill([DAY])
    (chunk,) = toy_world.closed()
    with pytest.raises(DedupMovedError, match="3 blobs with 18 ids are there, 4 were committed"):
        toy_world.keep(replace(chunk, blobs=4))
    assert len(blobs(toy_world)) == 3
    assert "dedup_ids" not in memory.side_tables


def test_ids_that_the_store_does_not_keep_stop_the_seal(
    toy_world: DedupWorld, memory: MemoryLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy_world.fill([DAY])
    (chunk,) = toy_world.closed()
    insert = memory.insert_side_rows

    def forgetful(side_rows: object) -> None:
        insert(side_rows)  # type: ignore[arg-type]
        if memory.side_tables.get("dedup_ids"):
            memory.side_tables["dedup_ids"].pop()

    monkeypatch.setattr(memory, "insert_side_rows", forgetful)
    with pytest.raises(DedupStateError, match="12 ids were written to dedup_ids, but 11"):
        toy_world.keep(chunk)
    assert len(blobs(toy_world)) == 3
    assert read_chain(memory, toy_world.partition, 7).end == 7
