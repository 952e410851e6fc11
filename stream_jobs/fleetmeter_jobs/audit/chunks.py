"""Is what left the workers' memory where the snapshots say: the ids of each chunk, and the content of each manifest?

A chunk's filter finds who may be known, and its ids in ClickHouse decide. An id that is missing there would be counted
again when it is sent again, and no sum would show it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from fleetmeter_jobs.audit.findings import Checked, Finding
from fleetmeter_jobs.ledger.dedup.chain import Chain
from fleetmeter_jobs.ledger.dedup.seal import read_chain
from fleetmeter_jobs.ledger.dedup.store import DedupStore
from fleetmeter_jobs.ledger.errors import DedupStateError
from fleetmeter_jobs.ledger.position import PartitionId, Position

_ADVICE = "Restore dedup_ids and dedup_snapshots from a backup; until then, what is sent again may count again."
_BEHIND = "The ledger was restored without its newest part: restore all tables from one backup."


def check_chunks(
    store: DedupStore, logs: Sequence[tuple[PartitionId, Position]], progress: Callable[[str], None]
) -> Checked:
    """Look at the chain of chunks of each log, older epochs included. Raises what ClickHouse raises when it is away."""
    findings: list[Finding] = []
    chunks = ids = 0
    for log, position in logs:
        progress(str(log))
        chain = read_chain(store, log, position.first_offset)
        chunks += len(chain.chunks)
        ids += sum(chunk.foreign_ids for chunk in chain.chunks)
        findings += _of_chain(store, log, position, chain)
    return Checked("chunks", f"{ids:,} ids in {chunks} chunks of {len(logs)} logs", tuple(findings))


def _of_chain(store: DedupStore, log: PartitionId, position: Position, chain: Chain) -> Iterator[Finding]:
    # Workers commit and seal on: a chain that was read later than the position may reach beyond it.
    counted = position if chain.end <= position.next_offset else store.position(log)
    if counted is None or chain.end > counted.next_offset:
        so_far = "not at all" if counted is None else f"up to {counted.next_offset} only"
        yield Finding(f"{log}: ids are folded up to {chain.end}, but it is counted {so_far}.", _BEHIND)
    for chunk in chain.chunks:
        there = store.ids_sum(log, chunk.first_offset, chunk.next_offset).count
        # A worker that forgets it meanwhile deletes its ids, and marks it before.
        if there != chunk.foreign_ids and store.is_remembered(chunk):
            yield Finding(f"{chunk}: dedup_ids has {there:,} ids, {chunk.foreign_ids:,} were written.", _ADVICE)
    for manifest in (*chain.chunks, *([chain.sequenced] if chain.sequenced else [])):
        try:
            content = store.content(manifest)
        except DedupStateError as error:
            yield Finding(f"{error}.", _ADVICE)
        else:
            if content is None and manifest in store.manifests(log):
                yield Finding(f"{manifest}: dedup_snapshots has no content of it.", _ADVICE)
