"""What must be true when a schedule is over, computed from the logs alone, never from what a worker believed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from faust.types import TP
from fleetmeter_doubles import MemoryPart
from fleetmeter_doubles.toy_core import ToyCore
from fleetmeter_doubles.toy_dedup import DAY_US, TOY_NATIVE, event_time_us, identity, unpack
from fleetmeter_jobs.ledger.dedup.chunks import CutRule
from fleetmeter_jobs.ledger.dedup.known import KnownEvents
from fleetmeter_jobs.ledger.dedup.restore import restore
from fleetmeter_jobs.ledger.position import PartitionId, Position
from fleetmeter_jobs.partition_status import PartitionStatus, State
from fleetmeter_jobs.reconcile import LogEnds, reconcile

from fleetmeter_deterministic.kafka import History, SimLog

if TYPE_CHECKING:
    from fleetmeter_deterministic.world import World

Identities = set[bytes]
HORIZON_US = 35 * DAY_US
"""Older events are refused."""


def problems(world: World) -> Iterator[str]:
    """Each broken promise, in words."""
    statuses = world.last.partitions.statuses()
    counted = []
    for tp, log in world.topic.logs.items():
        position = world.store.position(PartitionId(tp.topic, tp.partition))
        if position is None:
            yield f"{tp.partition}: nobody has begun"
            continue
        parts = commits_of(world, tp)
        yield from _one_chain(tp, parts, position)
        blobs = _blobs_of(world, tp)
        logs = [history for history in log.histories if _explains(history, parts, blobs, position)]
        if not logs:
            yield f"{tp.partition}: no log that ever was has what was committed up to {position.next_offset}"
            continue
        identities = _identities(logs[0], position)
        yield from _sums(world, tp, identities)
        yield from _quarantine(world, tp, logs[0], position)
        yield from _restored(world, tp, position, identities)
        if log.history in logs and log.start <= position.next_offset <= log.end:
            counted.append(tp)
        yield from _state(tp, statuses[tp.partition], log, position, right=tp in counted)
        yield from _watermarks(world, tp, log, right=tp in counted)
    for name, number, error in world.stopped:
        if number in {tp.partition for tp in counted}:
            yield f"{number}: {name} had stopped it, and the cause had passed: {error}"
    yield from _audit(world, counted)


def commits_of(world: World, tp: TP) -> list[MemoryPart]:
    """The inserts with a partition's markers, in order of their offsets."""
    mine = [
        part
        for part in world.store.parts
        for row in part.markers
        if (row["topic"], row["partition"], row["commits"]) == (tp.topic, tp.partition, 1)
    ]
    return sorted(mine, key=lambda part: int(part.markers[0]["first_offset"]))


def _one_chain(tp: TP, parts: list[MemoryPart], position: Position) -> Iterator[str]:
    here = position.first_offset
    for part in parts:
        first = part.markers[0]["first_offset"]
        if first != here:
            what = "lost" if first > here else "counted twice"
            yield f"{tp.partition}: offsets {min(first, here)}..{max(first, here)} are {what}"
        here = part.markers[0]["next_offset"]
    if here != position.next_offset:
        yield f"{tp.partition}: commits end at {here}, the position is {position.next_offset}"


def _blobs_of(world: World, tp: TP) -> dict[tuple[int, int], list[bytes]]:
    """The identities of each commit, wherever they were inserted, and whether they were sealed since."""
    found: dict[tuple[int, int], list[bytes]] = {}
    for partition, first, following, blob in world.blobs:
        if partition == PartitionId(tp.topic, tp.partition):
            found.setdefault((first, following), []).extend(unpack(blob)[1])
    return found


def _sums(world: World, tp: TP, identities: Identities) -> Iterator[str]:
    mine = [part for part in world.store.parts if part.partition == PartitionId(tp.topic, tp.partition)]
    requests = sum(sum(part.usage["requests"].to_pylist()) for part in mine)
    if requests != len(identities):
        yield f"{tp.partition}: the rollups have {requests} requests, the log has {len(identities)} distinct events"


def _explains(
    history: History, parts: list[MemoryPart], blobs: dict[tuple[int, int], list[bytes]], position: Position
) -> bool:
    """Whether all commits follow from this log: every count, every identity."""
    if history.topic_id != position.tail.topic_id:
        return False
    known: Identities = set()
    return all(_follows(history, part, blobs, known) for part in parts)


def _follows(history: History, part: MemoryPart, blobs: dict[tuple[int, int], list[bytes]], known: Identities) -> bool:
    (marker,) = part.markers
    first, following = marker["first_offset"], marker["next_offset"]
    batches = [batch for batch in history.batches if first < batch.next_offset and batch.base_offset < following]
    if not batches or batches[-1].next_offset != following or marker["tail"]["crc"] != batches[-1].crc:
        return False
    should: Counter[str] = Counter()
    new: list[bytes] = []
    for batch in batches:
        before = max(0, first - batch.base_offset)
        should["control_offsets"] += max(0, batch.control - before)
        should["aborted_offsets"] += max(0, batch.aborted - before)
        for value in batch.values[before:]:
            should["records"] += 1
            should["events_in"] += 1
            if value is None or bad(value):
                should["rejected"] += 1
            elif identity(value) in known:
                should["duplicates"] += 1
            else:
                should["accepted"] += 1
                new.append(identity(value))
                known.add(identity(value))
    return (
        all(marker[name] == should[name] for name in ("records", "control_offsets", "aborted_offsets", "events_in"))
        and all(marker[name] == should[name] for name in ("accepted", "duplicates", "rejected"))
        and sorted(blobs.get((first, following), [])) == sorted(new)
    )


def bad(value: bytes | None) -> bool:
    """Whether an event must be rejected: damaged, or too old when it was appended."""
    return value is None or value.startswith(b"!") or event_time_us(value, HORIZON_US) < 0


def _offsets(history: History, position: Position) -> Iterator[tuple[int, bytes | None]]:
    for batch in history.batches:
        for index, value in enumerate(batch.values):
            if position.first_offset <= batch.base_offset + index < position.next_offset:
                yield batch.base_offset + index, value


def _identities(history: History, position: Position) -> Identities:
    return {identity(value) for _, value in _offsets(history, position) if value is not None and not bad(value)}


def _quarantine(world: World, tp: TP, history: History, position: Position) -> Iterator[str]:
    should = {(offset, value or b"") for offset, value in _offsets(history, position) if bad(value)}
    found = _quarantined(world, tp, position)
    if missing := should - found:
        yield f"{tp.partition}: quarantine lacks {sorted(missing)}"
    if odd := found - should - _lost_rejections(world, tp, history, position):
        yield f"{tp.partition}: quarantine has {sorted(odd)}, and the log has not"


def _quarantined(world: World, tp: TP, position: Position) -> set[tuple[int, bytes]]:
    rows = [row for row in world.store.side_tables.get("quarantine", []) if row["partition"] == tp.partition]
    return {(row["offset"], _payload(row)) for row in rows if row["offset"] < position.next_offset}


def _lost_rejections(world: World, tp: TP, history: History, position: Position) -> set[tuple[int, bytes]]:
    """What was read of a log whose end the broker lost then, before it was committed: it may stay in quarantine."""
    others = [one for one in world.topic.logs[tp].histories if one.topic_id == history.topic_id and one is not history]
    return {(offset, value or b"") for one in others for offset, value in _offsets(one, position) if bad(value)}


def _payload(row: dict[str, Any]) -> bytes:
    payload = row["payload"]
    return payload if isinstance(payload, bytes) else str(payload).encode()


def _restored(world: World, tp: TP, position: Position, identities: Identities) -> Iterator[str]:
    """A core that is read from the ledger knows every event that could be accepted again, and no other."""
    partition, settings = PartitionId(tp.topic, tp.partition), world.last.settings
    rule = CutRule(settings.dedup_chunk_ids, settings.dedup_chunk_limit_bytes)
    limit = settings.dedup_filter_limit_bytes
    known = KnownEvents(restore(world.store, ToyCore, TOY_NATIVE, partition, position, rule, limit), world.store)
    now_us = world.clock.wall_ms() * 1000
    again = sorted(value for value in map(world.again, identities) if not bad(value))
    for what, values, count in (("counted", again, "duplicates"), ("never sent", [b"e-new", b"s-new"], "accepted")):
        known.ingest([*values], 0, now_us)
        counts = known.flush()
        if getattr(counts, count) != len(values):
            yield f"{tp.partition}: of {len(values)} events that were {what}, {getattr(counts, count)} are {count}"


def _state(tp: TP, status: PartitionStatus, log: SimLog, position: Position, *, right: bool) -> Iterator[str]:
    if status.dedup.seal_error is not None:
        yield f"{tp.partition}: sealing does not succeed: {status.dedup.seal_error}"
    if right and (status.state is not State.COUNTING or position.next_offset != log.end):
        yield (
            f"{tp.partition}: this is the log that was counted, but the partition is {status.state} at "
            f"{position.next_offset} of {log.end}: {status.error}"
        )
    if not right and status.state is not State.STOPPED:
        yield f"{tp.partition}: this is not the log that was counted up to {position.next_offset}, but it goes on"


def _watermarks(world: World, tp: TP, log: SimLog, *, right: bool) -> Iterator[str]:
    """An idle watermark says that whatever comes later in the log was appended later."""
    rows = [row for row in world.store.side_tables.get("watermarks", []) if row["partition"] == tp.partition]
    for row in rows if right and not log.truncated else []:
        later = [batch for batch in log.batches if batch.base_offset >= row["next_offset"]]
        if later and later[0].append_time_ms < row["watermark"].timestamp() * 1000:
            yield f"{tp.partition}: the watermark passed {later[0].append_time_ms} before offset {row['next_offset']}"


def _audit(world: World, counted: list[TP]) -> Iterator[str]:
    ends = {(tp.topic, tp.partition): LogEnds(log.start, log.end) for tp, log in world.topic.logs.items()}
    report = reconcile(world.store, lambda: ends)
    for each in report.partitions:
        tp = TP(each.partition.topic, each.partition.partition)
        # A quarantine with rows of records that the broker lost is wrong by them, and the audit right to say so.
        excused = "quarantine has" if world.topic.logs[tp].truncated else None
        if tp in counted:
            problems = [problem for problem in each.problems if not excused or not problem.startswith(excused)]
            yield from (f"the audit says of {each.partition}: {problem}" for problem in problems)
