-- Partitions that were added to a topic while it was counted: what was planned, when they were there, and where every
-- log ended once all producers knew of them.
--
-- The steps that count are decisions in the ledger, which have these rows' names: `fleetmeter topic grow` makes them,
-- and workers keep to them.

ALTER TABLE position_changes
    COMMENT COLUMN kind 'What was decided, skip (offsets were left out), new_epoch (another log was begun) or a step of grow.';

CREATE TABLE IF NOT EXISTS partition_growth
(
    topic LowCardinality(String) COMMENT 'Kafka topic that got more partitions.',
    growth String COMMENT 'Name of the growth, under which its steps and decisions belong together.',
    step LowCardinality(String) COMMENT 'What this row is about: planned, grown (the partitions are there) or grow_settled.',
    nonce String COMMENT 'Settled: name of the decision; the ledger''s marker carries it if this is the one.',
    topic_id String COMMENT 'Kafka''s id of the topic.',
    old_partitions UInt32 COMMENT 'Partitions before.',
    new_partitions UInt32 COMMENT 'Partitions after.',
    settle_s UInt32 COMMENT 'How long producers may take to learn of the new partitions, in seconds.',
    ends Array(UInt64) COMMENT 'Settled: where each partition''s log ended then, by partition.',
    who String COMMENT 'Who did it.',
    at DateTime64(3, 'UTC') COMMENT 'When.'
)
-- ENGINE: each row is written before the decision that it belongs to, again if that is tried again; one a step stays.
ENGINE = ReplacingMergeTree
-- ORDER BY: by what it is about; the nonce last, so that rival measurements of the logs' ends keep a row each.
ORDER BY (topic, growth, step, nonce)
-- PARTITION BY: none; a few rows.
-- TTL: none; it is evidence, and what each partition inherits follows from it.
COMMENT 'Partitions that were added to topics, step by step. Read it with FINAL.';
