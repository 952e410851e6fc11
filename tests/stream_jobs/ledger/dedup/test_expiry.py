"""What is too old is forgotten, by the broker's clock; a floor stays."""

from __future__ import annotations

import pytest
from fleetmeter_doubles import MemoryLedger
from fleetmeter_doubles.dedup_world import DAY, DedupWorld
from fleetmeter_doubles.memory_ledger import Fault
from fleetmeter_doubles.toy_core import ToyCore
from fleetmeter_doubles.toy_dedup import DAY_US
from fleetmeter_jobs.audit.chunks import check_chunks
from fleetmeter_jobs.ledger import ClickHouseStore, PartitionId
from fleetmeter_jobs.ledger.dedup.expiry import expire, forget_before
from fleetmeter_jobs.ledger.dedup.manifest import IdsSum, Kind
from fleetmeter_jobs.ledger.errors import StoreUnavailableError


@pytest.mark.parametrize(
    ("newest_us", "horizon_days", "future_s", "day"),
    [
        (100 * DAY_US, 35, 0, 64),
        (100 * DAY_US - 1, 35, 0, 63),
        (100 * DAY_US, 35, 1, 63),
        (100 * DAY_US, 35, 86_400, 63),
        (10 * DAY_US, 35, 300, 0),
        (0, 1, 0, 0),
    ],
)
def test_a_horizon_a_future_limit_and_a_day_are_kept(
    newest_us: int, horizon_days: int, future_s: int, day: int
) -> None:
    assert forget_before(newest_us, horizon_days, future_s) == day
    # Everything appended before that day is older than all that is kept.
    assert day * DAY_US <= max(newest_us - (horizon_days + 1) * DAY_US - future_s * 1_000_000, 0)


def ids(world: DedupWorld) -> int:
    if isinstance(world.store, ClickHouseStore):
        return int(world.store.http.rows("SELECT count() FROM dedup_ids")[0][0])
    return len(world.store.side_tables["dedup_ids"])  # type: ignore[attr-defined]


def kinds(world: DedupWorld) -> list[tuple[Kind, int, int]]:
    return sorted((one.kind, one.first_offset, one.next_offset) for one in world.store.manifests(world.partition))


def test_old_chunks_and_producers_are_forgotten(world: DedupWorld) -> None:
    world.fill(range(DAY, DAY + 5))
    world.seal_all(before_day=DAY + 2)
    end = world.position.next_offset
    assert ids(world) == 36
    assert kinds(world) == [
        *((Kind.CHUNK, first, first + 21) for first in range(49, end, 21)),
        (Kind.SEQUENCED, 7, end),
        (Kind.FORGOTTEN, 7, 49),
    ]
    restored = world.restore()
    stats = restored.core.stats()
    assert (stats["filtered_ids"], stats["sequenced_events"], restored.identities) == (36, 18, 90)
    world.assert_remembered(restored, DAY + 6, since=DAY + 2)
    assert restored.core.floor_us == (DAY + 3) * DAY_US


def test_a_raised_horizon_obeys_the_floor(world: DedupWorld) -> None:
    world.fill(range(DAY, DAY + 5))
    world.seal_all(before_day=DAY + 2)
    restored = world.restore()
    assert isinstance(restored.core, ToyCore)
    restored.core._horizon_us = 400 * DAY_US
    hours = [24 * days for days in range(1, 8)]
    today = DAY + 7
    resent = [b"f%d-1@%d" % (today - hour // 24, hour) for hour in hours]
    # Of the days from DAY on, those from DAY + 3 on are certain; what is older may have been forgotten.
    assert world.asked(restored, resent, today) == (2, 2, 3)


def test_expiring_twice_is_expiring_once_and_marks_are_joined(world: DedupWorld) -> None:
    world.fill(range(DAY, DAY + 6))
    world.seal_all()
    for before in (DAY + 1, DAY + 1, DAY + 2, DAY + 4, DAY + 4):
        expire(world.store, world.partition, world.log_start, before, world.context())
        marks = [one for one in kinds(world) if one[0] is Kind.FORGOTTEN]
        assert marks == [(Kind.FORGOTTEN, 7, 7 + 21 * (before - DAY))]
    assert ids(world) == 24
    world.assert_remembered(world.restore(), DAY + 8, since=DAY + 4)


def test_everything_may_expire(world: DedupWorld) -> None:
    world.fill([DAY, DAY + 1])
    world.seal_all(before_day=DAY + 40)
    assert ids(world) == 0
    restored = world.restore()
    assert (restored.identities, restored.core.stats()["sequenced_events"]) == (36, 0)
    world.fill([DAY + 40])
    world.seal_all(before_day=DAY + 40)
    world.assert_remembered(world.restore(), DAY + 42, since=DAY + 40)


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.GHOST, Fault.ANSWER_LOST])
@pytest.mark.parametrize("strike", range(8))
def test_an_expiry_that_is_cut_short_is_finished_by_the_next(
    toy_world: DedupWorld, memory: MemoryLedger, fault: Fault, strike: int
) -> None:
    toy_world.fill(range(DAY, DAY + 6))
    toy_world.seal_all()
    calls = iter(range(1000))

    def strike_once(operation: str, _label: str) -> Fault | None:
        if operation not in {"delete", "side_rows", "manifests"}:
            return None
        return fault if next(calls) == strike else None

    memory.fault = strike_once
    try:
        expire(memory, toy_world.partition, toy_world.log_start, DAY + 3, toy_world.context())
    except StoreUnavailableError:
        memory.fault = lambda _operation, _label: None
        toy_world.assert_remembered(toy_world.restore(), DAY + 7, since=DAY + 3)
        expire(memory, toy_world.partition, toy_world.log_start, DAY + 3, toy_world.context())
    assert next(calls) > strike, "the fault never struck"
    assert ids(toy_world) == 36
    assert [one for one in kinds(toy_world) if one[0] is Kind.FORGOTTEN] == [(Kind.FORGOTTEN, 7, 70)]
    toy_world.assert_remembered(toy_world.restore(), DAY + 7, since=DAY + 3)


@pytest.mark.clickhouse
def test_the_space_of_expired_ids_comes_back(clickhouse_store: ClickHouseStore) -> None:
    world = DedupWorld(clickhouse_store)
    world.fill(range(DAY, DAY + 4))
    world.seal_all(before_day=DAY + 2)
    rows = clickhouse_store.http.rows(
        "SELECT partition, sum(rows) FROM system.parts WHERE database = currentDatabase() AND table = 'dedup_ids' "
        "AND active AND rows > 0 GROUP BY partition ORDER BY partition"
    )
    assert [(day, count) for day, count in rows] == [("2026-02-18", 12), ("2026-02-19", 12)]


def test_an_audit_that_reads_on_while_chunks_are_forgotten_misses_none_of_them(
    world: DedupWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fill(range(DAY, DAY + 5))
    world.seal_all()
    sum_up = world.store.ids_sum

    def while_a_worker_forgets(partition: PartitionId, first_offset: int, next_offset: int) -> IdsSum:
        expire(world.store, world.partition, world.log_start, DAY + 2, world.context())
        return sum_up(partition, first_offset, next_offset)

    monkeypatch.setattr(world.store, "ids_sum", while_a_worker_forgets)
    logs = [(world.partition, world.position)]
    assert check_chunks(world.store, logs, lambda _log: None).findings == ()
