"""Forgetting: what no event that is still accepted can have as its identity, and what somebody has to remember of it.

An event is refused when it is older than the horizon, against the broker's append time. So a chunk may go when its
newest event was appended a horizon, a future limit and a day ago: whatever it holds would be refused anyway. What was
forgotten leaves a mark (a `forgotten` manifest), which keeps the chain whole, and from which the floor follows: an
event older than it is refused even if somebody has raised the horizon since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

from fleetmeter_jobs.ledger.context import CommitContext
from fleetmeter_jobs.ledger.dedup.chain import Chain, select_chain
from fleetmeter_jobs.ledger.dedup.chunks import DAY_S, DAY_US
from fleetmeter_jobs.ledger.dedup.manifest import Content, Kind, Manifest, manifest_rows
from fleetmeter_jobs.ledger.dedup.store import DedupStore
from fleetmeter_jobs.ledger.errors import DedupStateError
from fleetmeter_jobs.ledger.position import PartitionId

_NOTHING = Content()


def forget_before(newest_append_us: int, horizon_days: int, future_limit_s: int) -> int:
    """The day (counted from 1970-01-01) before which everything may be forgotten, once the log has come to an append
    time; 0 if nothing may."""
    kept_us = (horizon_days + 1) * DAY_US + future_limit_s * (DAY_US // DAY_S)
    return max(newest_append_us - kept_us, 0) // DAY_US


def expire(store: DedupStore, partition: PartitionId, log_start: int, before_day: int, context: CommitContext) -> Chain:
    """Forget the chunks of a log whose newest event was appended before a day; returns the chain without them.

    Marks first, then ids, then chunks: killed anywhere, it is done to its end by whoever does it next. Tried once;
    raises what the store raises.
    """
    manifests = store.manifests(partition)
    if expired := [one for one in manifests if one.kind is Kind.CHUNK and one.append_day < before_day]:
        # Those of a rival's chain too: what one believes in is never cut off.
        _write_marks(store, [_mark(one, one.first_offset, one.append_day) for one in expired], context)
        store.delete_ids(partition, before_day)
        store.delete_manifests(expired)
        manifests = store.manifests(partition)
    return _join_marks(store, manifests, log_start, context)


def _join_marks(store: DedupStore, manifests: Sequence[Manifest], log_start: int, context: CommitContext) -> Chain:
    """One mark in place of those at the beginning of the chain, so that they don't become more for ever."""
    chain = select_chain(manifests, log_start)
    leading = list(takewhile(lambda link: link.kind is Kind.FORGOTTEN, chain.links))
    if not leading:
        return chain
    joined = _mark(leading[-1], log_start, max(link.append_day for link in leading))
    marks = [one for one in manifests if one.kind is Kind.FORGOTTEN and one.next_offset <= joined.next_offset]
    inner = {one.next_offset for one in marks} - {joined.next_offset}
    superfluous = [one for one in marks if one != joined]
    if not superfluous or any(one.kind is Kind.CHUNK and one.first_offset in inner for one in manifests):
        return chain
    if joined not in marks:
        _write_marks(store, [joined], context)
    store.delete_manifests(superfluous)
    return select_chain(store.manifests(joined.partition), log_start)


def _mark(last: Manifest, first_offset: int, append_day: int) -> Manifest:
    return Manifest(
        last.partition, Kind.FORGOTTEN, first_offset, last.next_offset, _NOTHING.digest, append_day=append_day
    )


def _write_marks(store: DedupStore, marks: Sequence[Manifest], context: CommitContext) -> None:
    for mark in marks:
        store.insert_side_rows(manifest_rows(mark, _NOTHING, context.now_ms()))
    there = {replace(one, filter_bytes=0) for one in store.manifests(marks[0].partition)}
    if missing := [str(mark) for mark in marks if mark not in there]:
        raise DedupStateError(f"written to dedup_snapshots, but not there: {', '.join(missing)}; nothing was deleted")
