-- How many seats each account held, by user and by device.
-- param from DateTime('UTC') = now-30d: start of the span, included
-- param to DateTime('UTC') = now: end of the span, excluded
-- param account String = : only this account; empty for all
--
-- A seat is held in the span if a report says that it was seen in a period that overlaps it. A user on three devices is
-- one user seat; a device is its installation.
SELECT
    f.account_id AS account_id,
    uniqExactIf(f.user, f.seat_kind = 'user') AS user_seats,
    uniqExactIf(f.installation, f.seat_kind = 'device') AS device_seats
FROM usage_facts AS f FINAL
WHERE f.event_type = 'device_report'
    AND f.kind = 'seat'
    AND f.period_start < {to:DateTime('UTC')}
    AND f.period_end > {from:DateTime('UTC')}
    AND ({account:String} = '' OR f.account_id = {account:String})
GROUP BY f.account_id
ORDER BY account_id;
