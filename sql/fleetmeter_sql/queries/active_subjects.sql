-- How many users, conversations and installations were active in each account, in all and on a mean day.
-- param from Date = now-30d: first day (UTC), included
-- param to Date = now: last day (UTC), included
-- param account String = : only this account; empty for all
SELECT
    account_id,
    subject_kind,
    uniqExact(subject) AS active,
    uniqExact(day, subject) / (toUInt32({to:Date}) - toUInt32({from:Date}) + 1) AS active_per_day,
    min(first_seen) AS first_seen,
    max(last_seen) AS last_seen
FROM
(
    SELECT
        s.account_id AS account_id,
        s.subject_kind AS subject_kind,
        s.day AS day,
        s.subject AS subject,
        min(s.first_seen) AS first_seen,
        max(s.last_seen) AS last_seen
    FROM usage_subjects AS s
    WHERE s.day >= {from:Date}
        AND s.day <= {to:Date}
        AND ({account:String} = '' OR s.account_id = {account:String})
    GROUP BY s.account_id, s.subject_kind, s.day, s.subject
)
GROUP BY account_id, subject_kind
ORDER BY account_id, subject_kind;
