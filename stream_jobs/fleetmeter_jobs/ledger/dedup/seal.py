"""Sealing a chunk: committed blobs become rows for looking up, a filter, and a state of the sequenced ids.

1. The blobs of the chunk are read back from the ledger and folded. Only what is committed goes into a snapshot.
2. The ids are written, and summed up by the store: they must be those that were folded.
3. Two manifests are written, the chunk's and the sequenced ids', and read back: a chain must reach the chunk's end.
4. Only then are the blobs before the chain's end deleted, and older states of sequenced ids.

Everything is named by the offsets that it stems from, so each step may be done twice, by us after a crash, or by a
rival at the same time. Whoever is killed in between has changed nothing that a reader sees: the chain still ends where
it did, and the blobs after its end are all there. Whoever comes upon the manifests of a rival that cut otherwise gets
DedupMovedError, and has to read its state again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from fleetmeter_jobs.ledger.context import CommitContext
from fleetmeter_jobs.ledger.dedup.chain import Chain, select_chain
from fleetmeter_jobs.ledger.dedup.chunks import BlobStats, Chunk
from fleetmeter_jobs.ledger.dedup.manifest import Content, IdsSum, Kind, Manifest, id_rows, manifest_rows
from fleetmeter_jobs.ledger.dedup.native import Fold, Native
from fleetmeter_jobs.ledger.dedup.store import DedupStore
from fleetmeter_jobs.ledger.errors import CommitAbandonedError, DedupMovedError, DedupStateError
from fleetmeter_jobs.ledger.position import PartitionId


@dataclass(frozen=True, slots=True)
class Sealed:
    """A chunk that is remembered by the store, by whomever it was sealed."""

    manifest: Manifest
    content: Content
    chain: Chain
    """As it is now; it reaches at least the chunk's end."""


def seal(
    store: DedupStore,
    native: Native,
    hash_key: bytes,
    chunk: Chunk,
    log_start: int,
    forget_before: int,
    context: CommitContext,
) -> Sealed:
    """Seal a chunk whose commits are all in the ledger, and that the chain of the log that begins at `log_start` has
    come to. Sequenced ids of producers that were last heard of before the day `forget_before` are left out.

    Tried once: raises what the store raises (StoreUnavailableError: try again), DedupMovedError when the state in
    memory is to be read again, DedupStateError when the ledger's blobs are not what was committed.
    """
    chain = read_chain(store, chunk.partition, log_start)
    if chain.end < chunk.next_offset:
        if chain.end != chunk.first_offset:
            raise DedupMovedError(f"{chunk}: the chain that is sealed ends at {chain.end}; others cut elsewhere")
        _write(store, native, hash_key, chunk, chain, forget_before, context)
        chain = read_chain(store, chunk.partition, log_start)
        if chain.end < chunk.next_offset:
            raise DedupStateError(f"{chunk}: its manifests were written, but the chain read back ends at {chain.end}")
    manifest = next((one for one in chain.links if _is(one, chunk) and one.kind is Kind.CHUNK), None)
    content = store.content(manifest) if manifest else None
    if manifest is None or content is None:
        raise DedupMovedError(f"{chunk}: others cut elsewhere, or let it expire")
    _give_up_if_told(context, chunk)
    context.observer.at("before_blobs_deleted", str(chunk))
    forget_folded(store, chunk.partition, chain)
    context.observer.at("after_blobs_deleted", str(chunk))
    return Sealed(manifest, content, chain)


def read_chain(store: DedupStore, partition: PartitionId, log_start: int) -> Chain:
    """What is sealed of a log."""
    return select_chain(store.manifests(partition), log_start)


def forget_folded(store: DedupStore, partition: PartitionId, chain: Chain) -> None:
    """Delete what a chain that was read back from the store has made superfluous: blobs, and older states of sequenced
    ids. Chunks never: another chain may rest on them."""
    store.delete_blobs(partition, chain.end)
    store.delete_manifests(
        [one for one in store.manifests(partition) if one.kind is Kind.SEQUENCED and one.next_offset < chain.end]
    )


def _write(
    store: DedupStore,
    native: Native,
    hash_key: bytes,
    chunk: Chunk,
    chain: Chain,
    forget_before: int,
    context: CommitContext,
) -> None:
    fold = _folded(store, native, hash_key, chunk, chain)
    manifests = _manifests(fold, chunk, chain, forget_before)
    fingerprints = pa.record_batch(fold.fingerprints()).column(0)
    context.observer.at("before_ids", str(chunk))
    for rows in id_rows(manifests[0][0], fingerprints):
        _give_up_if_told(context, chunk)
        store.insert_side_rows(rows)
    there, folded = store.ids_sum(chunk.partition, chunk.first_offset, chunk.next_offset), IdsSum.of(fingerprints)
    if there != folded:
        raise DedupStateError(
            f"{chunk}: {folded.count} ids were written to dedup_ids, but {there.count} others can be read back; "
            "nothing was deleted. Does the worker's user see all rows of the table, and do its inserts reach it?"
        )
    _give_up_if_told(context, chunk)
    context.observer.at("before_manifests", str(chunk))
    for manifest, content in manifests:
        store.insert_side_rows(manifest_rows(manifest, content, context.now_ms()))


def _folded(store: DedupStore, native: Native, hash_key: bytes, chunk: Chunk, chain: Chain) -> Fold:
    """The chunk's blobs upon the sequenced ids before them, every blob accounted for."""
    fold = native.fold(hash_key)
    before = 0
    if chain.sequenced is not None:
        base = store.content(chain.sequenced)
        if base is None:
            raise DedupMovedError(f"{chunk}: the state of sequenced ids at {chain.end} was replaced")
        _add(fold, base.state, str(chain.sequenced))
        before = fold.sequenced_events
    identities = blobs = 0
    for blob in store.blobs(chunk.partition, chunk.next_offset, chunk.first_offset):
        where = f"{chunk.partition}: the blob of offsets {blob.first_offset} to {blob.next_offset}"
        _add(fold, blob.data, where)
        identities += BlobStats.of(native.blob_stats(blob.data)).identities
        blobs += 1
    folded = fold.foreign_ids + fold.sequenced_events - before
    if (blobs, identities) != (chunk.blobs, chunk.identities):
        # Deleted by a rival, who has sealed them then: its manifests say so.
        raise DedupMovedError(f"{chunk}: {blobs} blobs with {identities} ids are there, {chunk.blobs} were committed")
    if folded != identities or (fold.foreign_ids != chunk.foreign_ids):
        raise DedupStateError(
            f"{chunk}: its {blobs} blobs name {identities} ids, but only {folded} differ from one another and from "
            "those before: an event was counted twice. Run `fleetmeter audit`"
        )
    return fold


def _add(fold: Fold, blob: bytes, where: str) -> None:
    try:
        fold.add(blob)
    except ValueError as error:
        raise DedupStateError(f"{where} is damaged: {error}") from error


def _manifests(fold: Fold, chunk: Chunk, chain: Chain, forget_before: int) -> Sequence[tuple[Manifest, Content]]:
    """The chunk's, and that of the sequenced ids at its end."""
    ids = Content(hours=fold.hours(), filter=fold.filter() if fold.foreign_ids else b"")
    state = Content(state=fold.sequenced(forget_before))
    forgotten = max(forget_before, chain.sequenced.forgotten_before if chain.sequenced else 0)
    return (
        (
            Manifest(
                chunk.partition,
                Kind.CHUNK,
                chunk.first_offset,
                chunk.next_offset,
                ids.digest,
                foreign_ids=fold.foreign_ids,
                append_day=chunk.append_day,
                filter_bytes=len(ids.filter),
            ),
            ids,
        ),
        (
            Manifest(
                chunk.partition,
                Kind.SEQUENCED,
                chain.start,
                chunk.next_offset,
                state.digest,
                identities_ever=chain.identities_ever + chunk.identities,
                append_day=chunk.append_day,
                forgotten_before=forgotten,
            ),
            state,
        ),
    )


def _is(manifest: Manifest, chunk: Chunk) -> bool:
    return (manifest.first_offset, manifest.next_offset) == (chunk.first_offset, chunk.next_offset)


def _give_up_if_told(context: CommitContext, chunk: Chunk) -> None:
    if context.cancel.is_set():
        raise CommitAbandonedError(f"told to stop while sealing {chunk}; whoever counts the partition next seals it")
