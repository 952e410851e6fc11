-- What share of each account's queries was answered on devices, and what share in the cloud or on its own servers.
-- param from DateTime('UTC') = now-7d: start of the span, included
-- param to DateTime('UTC') = now: end of the span, excluded
-- param account String = : only this account; empty for all
--
-- Devices either send a generation for each query (metered_local) or, if they may not be metered that closely, an
-- estimate for a period, with bounds (estimated_local). An estimate belongs to the span in which its period ends, since
-- its bounds hold for the whole period only. Queries that ended in an error were not answered and are left out.
-- fallbacks are local attempts that were then answered elsewhere, and counted there.
SELECT
    account_id,
    sum(metered) AS metered_local,
    sum(estimated) AS estimated_local,
    sum(estimated_lower) AS estimated_local_lower,
    sum(estimated_upper) AS estimated_local_upper,
    sum(in_cloud) AS cloud,
    sum(own_servers) AS on_prem,
    sum(elsewhere) AS placement_unknown,
    sum(fell_back) AS fallbacks,
    cloud + on_prem + placement_unknown AS served,
    (metered_local + estimated_local) / nullIf(metered_local + estimated_local + served, 0) AS local_share,
    (metered_local + estimated_local_lower) / nullIf(metered_local + estimated_local_lower + served, 0)
        AS local_share_lower,
    (metered_local + estimated_local_upper) / nullIf(metered_local + estimated_local_upper + served, 0)
        AS local_share_upper
FROM
(
    SELECT
        u.account_id AS account_id,
        sumIf(u.requests, u.placement = 'device') AS metered,
        toUInt128(0) AS estimated,
        toUInt128(0) AS estimated_lower,
        toUInt128(0) AS estimated_upper,
        sumIf(u.requests, u.placement = 'cloud') AS in_cloud,
        sumIf(u.requests, u.placement = 'on_prem') AS own_servers,
        sumIf(u.requests, u.placement NOT IN ('device', 'cloud', 'on_prem')) AS elsewhere,
        sum(u.fallbacks) AS fell_back
    FROM usage_minutes AS u
    WHERE u.event_type IN ('generation', 'fallback')
        AND u.status != 'error'
        AND u.minute >= {from:DateTime('UTC')}
        AND u.minute < {to:DateTime('UTC')}
        AND ({account:String} = '' OR u.account_id = {account:String})
    GROUP BY u.account_id
    UNION ALL
    SELECT
        e.account_id AS account_id,
        toUInt128(0) AS metered,
        sum(toUInt128(coalesce(e.queries, e.queries_lower, 0))) AS estimated,
        sum(toUInt128(coalesce(e.queries_lower, e.queries, 0))) AS estimated_lower,
        sum(toUInt128(coalesce(e.queries_upper, e.queries, e.queries_lower, 0))) AS estimated_upper,
        toUInt128(0) AS in_cloud,
        toUInt128(0) AS own_servers,
        toUInt128(0) AS elsewhere,
        toUInt128(0) AS fell_back
    FROM usage_estimates AS e FINAL
    WHERE e.period_end > {from:DateTime('UTC')}
        AND e.period_end <= {to:DateTime('UTC')}
        AND ({account:String} = '' OR e.account_id = {account:String})
    GROUP BY e.account_id
)
GROUP BY account_id
ORDER BY account_id;
