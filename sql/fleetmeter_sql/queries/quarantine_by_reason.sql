-- Why events were rejected: how many for each reason and field, how many were sent again since, and the newest example.
-- param from DateTime('UTC') = now-7d: start of the span of arrival, included
-- param to DateTime('UTC') = now: end of the span of arrival, excluded
-- param topic String = : only this Kafka topic; empty for all
SELECT
    q.reason AS reason,
    q.field AS field,
    count() AS events,
    countIf(q.replayed_at IS NOT NULL) AS replayed,
    min(q.append_time) AS first_arrival,
    max(q.append_time) AS last_arrival,
    argMax(q.sentence, (q.append_time, q.offset, q.event_index)) AS example,
    argMax(
        concat(q.topic, '-', toString(q.partition), ' offset ', toString(q.offset), ' event ', toString(q.event_index)),
        (q.append_time, q.offset, q.event_index)
    ) AS example_at
FROM quarantine AS q FINAL
WHERE q.append_time >= {from:DateTime('UTC')}
    AND q.append_time < {to:DateTime('UTC')}
    AND ({topic:String} = '' OR q.topic = {topic:String})
    -- Where a log went on in another epoch, as when a topic grows, what lies behind is of rejections that the next has.
    AND NOT arrayExists(
        closed -> q.topic = closed.1 AND q.partition = closed.2 AND q.epoch = closed.3 AND q.offset >= closed.4,
        (
            SELECT groupArray((topic, partition, old.epoch, old.next_offset))
            FROM ingest_positions AS old INNER JOIN ingest_positions AS new USING (topic, partition)
            WHERE new.epoch = old.epoch + 1 AND new.first_offset = old.next_offset AND new.topic_id = old.topic_id
        )
    )
GROUP BY q.reason, q.field
ORDER BY events DESC, reason, field;
