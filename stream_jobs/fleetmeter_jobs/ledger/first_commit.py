"""What must be in the ledger before a partition's first flush, and on which rivals must agree: the hash key by which
identities are remembered, and the offset at which the log started."""

from __future__ import annotations

import secrets

from fleetmeter_jobs.ledger.arrow_batch import blob_row, encode_rows, marker_row
from fleetmeter_jobs.ledger.compare_and_swap import compare_and_swap
from fleetmeter_jobs.ledger.context import CommitContext
from fleetmeter_jobs.ledger.errors import DedupStateError, LedgerError
from fleetmeter_jobs.ledger.position import INIT_TABLE_PARTITION, PartitionId, Position, Tail, table_partition_of
from fleetmeter_jobs.ledger.retry import until_answered
from fleetmeter_jobs.ledger.store import LedgerStore, NoHashKey, NoPosition

HASH_KEY_BYTES = 16
_LEDGER_ITSELF = PartitionId(topic="", partition=0, epoch=0)


def ensure_position(
    store: LedgerStore,
    partition: PartitionId,
    log_start: int,
    topic_id: str,
    append_time_ms: int,
    context: CommitContext,
    *,
    watermark_us: int = 0,
) -> Position:
    """The partition's position; if it has none, an empty first marker at `log_start` is committed before.

    Rivals may have seen different starts of the log: one of them wins, and all get the winner's. `append_time_ms` (of
    the log's first record, or now) only chooses the month into which the first flush goes. `watermark_us`: how far the
    partition has come before it has any event. Waits for the store as `commit` does; raises as it does.
    """
    position = until_answered(
        lambda: store.position(partition), context.cancel, context.backoff, f"reading the position of {partition}"
    )
    if position is not None:
        return position
    tail = Tail(
        next_offset=log_start,
        nonce=secrets.token_hex(16),
        topic_id=topic_id,
        leader_epoch=-1,
        crc=0,
        table_partition=table_partition_of(append_time_ms),
    )
    marker = marker_row(
        partition,
        INIT_TABLE_PARTITION,
        log_start,
        tail,
        watermark_us=watermark_us,
        committed_at_ms=context.now_ms(),
    )
    rows = encode_rows([marker])
    swapped = compare_and_swap(
        store,
        rows,
        NoPosition(partition),
        lambda attempt: f"{partition}@init#{attempt}",
        lambda: store.position(partition),
        lambda now: now is None,
        context,
    )
    if swapped.now is None:  # what `unchanged` has just excluded; told to the type checker
        raise LedgerError(f"{partition}: no position after its first marker")
    return swapped.now


def ensure_hash_key(store: LedgerStore, context: CommitContext) -> bytes:
    """The 16-byte key of the fingerprints, made at random by whoever comes first and the same for ever after."""
    key = until_answered(store.hash_key, context.cancel, context.backoff, "reading the hash key")
    if key is None:
        rows = encode_rows([blob_row(_LEDGER_ITSELF, INIT_TABLE_PARTITION, 0, 0, secrets.token_bytes(HASH_KEY_BYTES))])
        key = compare_and_swap(
            store,
            rows,
            NoHashKey(),
            lambda attempt: f"hash_key@init#{attempt}",
            store.hash_key,
            lambda now: now is None,
            context,
        ).now
    if key is None or len(key) != HASH_KEY_BYTES:
        found = "none" if key is None else f"{len(key)} bytes"
        raise DedupStateError(f"the ledger's hash key must have {HASH_KEY_BYTES} bytes, found {found}")
    return key
