-- What a worker reads at its start instead of every blob since the beginning: a chain of chunks of foreign ids, and the
-- sequenced ids at the chain's end.

CREATE TABLE IF NOT EXISTS dedup_snapshots
(
    topic LowCardinality(String) COMMENT 'Kafka topic that the events came from.',
    partition UInt32 COMMENT 'Kafka partition that the events came from.',
    epoch UInt32 COMMENT 'Log epoch: 0 until the topic was recreated or truncated and an operator said so.',
    kind Enum8('chunk' = 1, 'sequenced' = 2, 'forgotten' = 3) COMMENT 'What it is, a chunk of foreign ids, the sequenced ids up to an offset, or a chunk that has expired.',
    first_offset UInt64 COMMENT 'First offset of the commits it stems from.',
    next_offset UInt64 COMMENT 'Offset after the last of the commits it stems from.',
    digest FixedString(16) COMMENT 'BLAKE2b of hours, filter and state, all slices joined: which slices belong together.',
    slice UInt32 COMMENT 'Number of this slice of the content, from 0.',
    slices UInt32 COMMENT 'How many slices there are; with fewer the row does not count.',
    foreign_ids UInt64 COMMENT 'Chunks: number of foreign ids, all of them in dedup_ids.',
    identities_ever UInt64 COMMENT 'Sequenced: events accepted before next_offset, forgotten ones included.',
    append_day Date COMMENT 'Day (UTC) of the broker''s append time of the newest event in it.',
    forgotten_before Date COMMENT 'Sequenced: producers whose last event was appended before this day (UTC) are left out.',
    hours String COMMENT 'Chunks: the hours in which the events happened, as the native core packs them.' CODEC(ZSTD(1)),
    filter String COMMENT 'Chunks: a filter that knows each foreign id, and few others.' CODEC(NONE),
    state String COMMENT 'Sequenced: the ids as the native core packs them.' CODEC(ZSTD(1)),
    written_at DateTime64(3, 'UTC') COMMENT 'When it was written.'
)
-- ENGINE: what is sealed again after a crash, or by a rival, has the same key and the same bytes; one row of it stays.
ENGINE = ReplacingMergeTree
-- PARTITION BY: chunks by the day with which they expire; the others together, as they are few and replaced often.
PARTITION BY if(kind = 'chunk', append_day, toDate(0))
-- ORDER BY: the range is the name of a chunk. The digest is part of it, so that slices of two versions never mix.
ORDER BY (topic, partition, epoch, kind, first_offset, next_offset, digest, slice)
-- TTL: none, as for dedup_ids.
SETTINGS
    -- Rows are large; a lightweight DELETE must not copy them.
    min_bytes_for_wide_part = 0,
    -- Blobs are deleted from the ledger once their snapshot is here, so it must outlive a power failure.
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1
COMMENT 'Internal: chunks of foreign ids with their filters, and sequenced ids, folded from committed blobs.';
