-- Positions that an operator moves: offsets left out on purpose, and logs begun anew, with who and why.
--
-- What was decided stands in the ledger, in the decision's own marker, and so in the arithmetic of the audit; this adds
-- the offsets that were left out to it.

ALTER TABLE ledger
    ADD COLUMN IF NOT EXISTS skipped_offsets SimpleAggregateFunction(sum, UInt64)
        COMMENT 'Marker rows: offsets that an operator decided not to count.' AFTER overflowed_labels,
    COMMENT COLUMN event_type 'Usage rows: short name of the event type, such as generation. Marker rows: an operator''s decision.',
    COMMENT COLUMN blob_offset 'Blob rows: first offset of their commit. An operator''s decision: likewise.';

CREATE TABLE IF NOT EXISTS position_changes
(
    nonce String COMMENT 'Name of the decision; the ledger''s marker carries it if the decision took effect.',
    topic LowCardinality(String) COMMENT 'Kafka topic that the events came from.',
    partition UInt32 COMMENT 'Kafka partition that the events came from.',
    epoch UInt32 COMMENT 'Log epoch: 0 until the topic was recreated or truncated and an operator said so.',
    kind LowCardinality(String) COMMENT 'What was decided, skip (offsets were left out) or new_epoch (another log was begun).',
    from_offset UInt64 COMMENT 'Position before.',
    to_epoch UInt32 COMMENT 'Log epoch after.',
    to_offset UInt64 COMMENT 'Position after.',
    skipped_offsets UInt64 COMMENT 'Offsets that were left out.',
    log_start UInt64 COMMENT 'First offset that Kafka held then.',
    log_end UInt64 COMMENT 'Offset after the last that Kafka held then.',
    from_topic_id String COMMENT 'Kafka''s id of the topic that was counted before.',
    to_topic_id String COMMENT 'Kafka''s id of the topic then.',
    who String COMMENT 'Who decided.',
    reason String COMMENT 'Why, in their words.',
    decided_at DateTime64(3, 'UTC') COMMENT 'When.'
)
-- ENGINE: the row is written before the decision is made, again if that is tried again; one row a decision stays.
ENGINE = ReplacingMergeTree
-- ORDER BY: by what it is about; the nonce last, so that rival decisions about one position keep a row each.
ORDER BY (topic, partition, epoch, from_offset, nonce)
-- PARTITION BY: none; a few rows.
-- TTL: none; it is evidence.
COMMENT 'Decisions of operators about positions: who, when, why. Read it with FINAL.';

CREATE OR REPLACE VIEW ingest_positions
(
    topic LowCardinality(String) COMMENT 'Kafka topic.',
    partition UInt32 COMMENT 'Kafka partition.',
    epoch UInt32 COMMENT 'Log epoch: 0 until the topic was recreated or truncated and an operator said so.',
    first_offset UInt64 COMMENT 'Where the log started when the partition was first counted.',
    next_offset UInt64 COMMENT 'Where the next commit starts: all before it is counted.',
    offsets_span Int64 COMMENT 'next_offset - first_offset.',
    offsets_counted UInt64 COMMENT 'records + control_offsets + aborted_offsets + skipped_offsets; must equal offsets_span.',
    commits UInt64 COMMENT 'Number of commits.',
    records UInt64 COMMENT 'Kafka records that were read.',
    control_offsets UInt64 COMMENT 'Offsets taken by transaction markers.',
    aborted_offsets UInt64 COMMENT 'Offsets of records of aborted transactions.',
    skipped_offsets UInt64 COMMENT 'Offsets that an operator decided not to count; see position_changes.',
    events_in UInt64 COMMENT 'Events in the records; must equal accepted + duplicates + rejected.',
    accepted UInt64 COMMENT 'Events that were counted.',
    duplicates UInt64 COMMENT 'Events whose (source, id) had been counted before.',
    rejected UInt64 COMMENT 'Events in quarantine.',
    unknown_fields UInt64 COMMENT 'Fields that the workers did not know, and ignored.',
    overflowed_labels UInt64 COMMENT 'Events whose label set was counted as __other__.',
    offsets_ok Bool COMMENT 'Each offset was accounted for once: no range is missing or was committed twice.',
    events_ok Bool COMMENT 'Each event was accounted for once: accepted, duplicate or rejected.',
    watermark DateTime64(6, 'UTC') COMMENT 'Largest event time seen; 1970 before the first.',
    committed_at DateTime64(3, 'UTC') COMMENT 'When the newest commit was made.',
    nonce String COMMENT 'Random name of the newest commit.',
    topic_id String COMMENT 'Kafka''s id of the topic when the newest commit was made.',
    leader_epoch Int32 COMMENT 'Leader epoch of the last record batch that was read; -1 before the first.',
    crc UInt32 COMMENT 'CRC-32C of the last record batch that was read; 0 before the first.',
    table_partition UInt32 COMMENT 'Table partition, yyyymm, into which the next commit goes.'
)
AS SELECT
    topic,
    partition,
    epoch,
    first_offset,
    next_offset,
    toInt64(next_offset) - toInt64(first_offset) AS offsets_span,
    records + control_offsets + aborted_offsets + skipped_offsets AS offsets_counted,
    commits,
    records,
    control_offsets,
    aborted_offsets,
    skipped_offsets,
    events_in,
    accepted,
    duplicates,
    rejected,
    unknown_fields,
    overflowed_labels,
    offsets_span = offsets_counted AND tail.next_offset = next_offset AS offsets_ok,
    events_in = accepted + duplicates + rejected AS events_ok,
    watermark,
    committed_at,
    tail.nonce AS nonce,
    tail.topic_id AS topic_id,
    tail.leader_epoch AS leader_epoch,
    tail.crc AS crc,
    tail.table_partition AS table_partition
FROM
(
    SELECT
        topic,
        partition,
        epoch,
        min(first_offset) AS first_offset,
        max(next_offset) AS next_offset,
        sum(commits) AS commits,
        sum(records) AS records,
        sum(control_offsets) AS control_offsets,
        sum(aborted_offsets) AS aborted_offsets,
        sum(skipped_offsets) AS skipped_offsets,
        sum(events_in) AS events_in,
        sum(accepted) AS accepted,
        sum(duplicates) AS duplicates,
        sum(rejected) AS rejected,
        sum(unknown_fields) AS unknown_fields,
        sum(overflowed_labels) AS overflowed_labels,
        max(watermark) AS watermark,
        max(committed_at) AS committed_at,
        max(tail) AS tail
    FROM ledger
    WHERE row_kind = 'marker'
    GROUP BY topic, partition, epoch
)
COMMENT 'Committed position of each Kafka partition, with the arithmetic that proves it.';
