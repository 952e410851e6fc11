-- Up to when usage is complete.
--
-- A minute, hour or period is complete when the topic's lowest watermark has passed its end by the allowed lateness:
--     SELECT min(topic_watermark) >= period_end + INTERVAL {lateness} SECOND FROM usage_completeness
-- The lateness is the reader's: a dashboard waits for two minutes, a period close for a day.
--
-- Only the newest epoch of a partition counts: once an operator has said that the log was replaced, what its successor
-- has not read yet may still belong to minutes that the old one had passed.
-- A partition is known from its first commit on, which a worker makes when it takes the partition.

CREATE VIEW IF NOT EXISTS usage_completeness
(
    topic LowCardinality(String) COMMENT 'Kafka topic.',
    partition UInt32 COMMENT 'Kafka partition.',
    epoch UInt32 COMMENT 'Newest log epoch of the partition.',
    next_offset UInt64 COMMENT 'Where the next commit starts.',
    event_watermark DateTime64(6, 'UTC') COMMENT 'Largest event time committed; 1970 before the first.',
    idle_watermark DateTime64(6, 'UTC') COMMENT 'Time up to which the partition was idle; 1970 if it never was.',
    watermark DateTime64(6, 'UTC') COMMENT 'The later of the two: how far this partition has come.',
    topic_watermark DateTime64(6, 'UTC') COMMENT 'Lowest watermark of the topic''s partitions: how far usage is complete.',
    holds_back Bool COMMENT 'Whether this partition has the lowest watermark of its topic.'
)
AS SELECT
    topic,
    partition,
    epoch,
    position AS next_offset,
    event_watermark,
    idle_watermark,
    watermark,
    min(watermark) OVER (PARTITION BY topic) AS topic_watermark,
    watermark = topic_watermark AS holds_back
FROM
(
    SELECT
        topic,
        partition,
        epoch,
        -- The names differ from the columns they sum, which both branches below fill.
        max(committed) AS position,
        max(seen) AS event_watermark,
        -- An idle mark beyond the committed position speaks of records that the ledger does not hold (it was restored
        -- from a backup, say), so it proves nothing.
        if(max(idle_at) <= position, max(idle), toDateTime64(0, 6, 'UTC')) AS idle_watermark,
        greatest(event_watermark, idle_watermark) AS watermark
    FROM
    (
        SELECT
            topic, partition, epoch,
            next_offset AS committed, watermark AS seen,
            0 AS idle_at, toDateTime64(0, 6, 'UTC') AS idle, 1 AS is_counted
        FROM ledger
        WHERE row_kind = 'marker'
        UNION ALL
        SELECT
            topic, partition, epoch,
            0 AS committed, toDateTime64(0, 6, 'UTC') AS seen,
            next_offset AS idle_at, watermark AS idle, 0 AS is_counted
        FROM watermarks
    )
    GROUP BY topic, partition, epoch
    HAVING max(is_counted) = 1
    ORDER BY topic, partition, epoch DESC
    LIMIT 1 BY topic, partition
)
COMMENT 'Watermark of each Kafka partition and topic: up to when usage is complete.';
