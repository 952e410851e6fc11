-- How fresh usage is: what each Kafka partition has committed, and how long ago.
-- param at DateTime('UTC') = now: moment to compare with
--
-- since_commit_s grows while a partition is idle; behind_s does not, since an idle partition's watermark is advanced.
SELECT
    p.topic AS topic,
    p.partition AS partition,
    p.epoch AS epoch,
    p.next_offset AS next_offset,
    p.accepted AS events_counted,
    p.duplicates AS duplicates,
    p.rejected AS rejected,
    p.offsets_ok AND p.events_ok AS books_ok,
    p.committed_at AS committed_at,
    dateDiff('second', p.committed_at, {at:DateTime('UTC')}) AS since_commit_s,
    c.watermark AS watermark,
    dateDiff('second', c.watermark, {at:DateTime('UTC')}) AS behind_s
FROM ingest_positions AS p
INNER JOIN usage_completeness AS c ON c.topic = p.topic AND c.partition = p.partition AND c.epoch = p.epoch
ORDER BY topic, partition;
