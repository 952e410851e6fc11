-- Foreign ids that have left the workers' memory: a worker asks here when a chunk's filter says that an id may be known.

CREATE TABLE IF NOT EXISTS dedup_ids
(
    topic LowCardinality(String) COMMENT 'Kafka topic that the events came from.',
    partition UInt32 COMMENT 'Kafka partition that the events came from.',
    epoch UInt32 COMMENT 'Log epoch: 0 until the topic was recreated or truncated and an operator said so.',
    chunk_first UInt64 COMMENT 'First offset of the chunk of commits that accepted the event.',
    chunk_next UInt64 COMMENT 'Offset after the last of the chunk.',
    -- As long as any two are told apart, random bytes can't get shorter: compressing them only costs time.
    -- Small compressed blocks, because a lookup reads whole ones: 16 KiB (1,024 ids) instead of 64.
    fingerprint FixedString(16) COMMENT 'Keyed 128-bit hash of (source, id).' CODEC(NONE) SETTINGS (min_compress_block_size = 16384, max_compress_block_size = 16384),
    append_day Date COMMENT 'Day (UTC) of the broker''s append time of the chunk''s newest event.'
)
-- ENGINE: chunks are sealed again after a crash, and by rivals; one row a key stays. Writing is idempotent, reading
-- whether a key is there needs no FINAL.
ENGINE = ReplacingMergeTree
-- PARTITION BY: chunks expire by their newest event's day, so a day's parts become empty together and their space comes
-- back. All partitions of Kafka share a day's parts: some forty days of them, however many partitions there are.
PARTITION BY append_day
-- ORDER BY: a lookup names a chunk and some fingerprints; the key finds them without reading anything else.
ORDER BY (topic, partition, epoch, chunk_first, chunk_next, fingerprint)
-- TTL: none. Age is told by the broker's append time and never by a clock, or a replay of an old log would forget what
-- it just counted; workers delete expired chunks by name.
SETTINGS
    -- A lookup reads one granule an id: 512 ids are 8 KiB. The price is a primary index of about 0.1 byte an id.
    index_granularity = 512,
    -- A lightweight DELETE then writes a mask beside the other columns' files and copies none of them.
    min_bytes_for_wide_part = 0,
    -- The ledger's copy of these ids is deleted once they are here, so they must outlive a power failure.
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    default_compression_codec = 'ZSTD(1)'
COMMENT 'Internal: 128-bit hashes of the ids counted in the last weeks, for looking up what filters say may be known.';
