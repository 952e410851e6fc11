-- Which hours (or minutes, or days) are complete, and which Kafka partitions the others wait for.
-- param from DateTime('UTC') = now-1d: start of the span; the row that holds it is the first
-- param to DateTime('UTC') = now: end of the span, excluded
-- param bucket_s UInt32 = 3600: width of a row in time, in seconds; a whole number of minutes
-- param lateness_s UInt32 = 120: how much later than its minute an event may still arrive, in seconds
--
-- Rows without usage are listed too: they may be complete and empty, or not complete yet.
WITH
    toIntervalSecond({bucket_s:UInt32}) AS width,
    toStartOfInterval({from:DateTime('UTC')}, width) AS first_bucket,
    intDiv(greatest(dateDiff('second', first_bucket, {to:DateTime('UTC')}), 0) + {bucket_s:UInt32} - 1, {bucket_s:UInt32})
        AS buckets,
    (SELECT groupArray((topic, partition, watermark)) FROM usage_completeness) AS partitions
SELECT
    b.bucket AS bucket,
    sum(b.events) AS events,
    arrayMap(
        p -> concat(p.1, '-', toString(p.2)),
        arraySort(arrayFilter(p -> p.3 < bucket + width + toIntervalSecond({lateness_s:UInt32}), partitions))
    ) AS waits_for,
    notEmpty(partitions) AND empty(waits_for) AS complete
FROM
(
    SELECT first_bucket + toIntervalSecond(number * {bucket_s:UInt32}) AS bucket, toUInt128(0) AS events
    FROM numbers(buckets)
    UNION ALL
    SELECT toStartOfInterval(u.minute, width) AS bucket, u.requests + u.fallbacks AS events
    FROM usage_minutes AS u
    WHERE u.minute >= first_bucket
        AND u.minute < first_bucket + toIntervalSecond(buckets * {bucket_s:UInt32})
) AS b
GROUP BY b.bucket
ORDER BY bucket;
