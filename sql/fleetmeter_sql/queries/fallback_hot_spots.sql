-- Which local models fail on which kinds of query, why most often, and what that wastes.
-- param from DateTime('UTC') = now-7d: start of the span, included
-- param to DateTime('UTC') = now: end of the span, excluded
-- param account String = : only this account; empty for all
-- param limit UInt32 = 50: number of rows, the most fallbacks first
--
-- fallback_rate is fallbacks out of all metered local attempts; it is empty where no local answers are metered, since
-- then nobody knows how many there were.
SELECT
    model,
    query_class,
    sum(fell_back) AS fallbacks,
    sum(answered) AS local_answers,
    if(local_answers = 0, NULL, fallbacks / (fallbacks + local_answers)) AS fallback_rate,
    argMaxIf(reason, (fell_back, reason), fell_back > 0) AS top_reason,
    max(fell_back) AS top_reason_fallbacks,
    sum(input_tokens) AS wasted_input_tokens,
    sum(output_tokens) AS wasted_output_tokens,
    sum(active_ms) AS wasted_active_ms
FROM
(
    SELECT
        u.model AS model,
        u.query_class AS query_class,
        u.fallback_reason AS reason,
        sum(u.fallbacks) AS fell_back,
        sumIf(u.requests, u.placement = 'device' AND u.status != 'error') AS answered,
        sum(u.wasted_input_tokens) AS input_tokens,
        sum(u.wasted_output_tokens) AS output_tokens,
        sum(u.wasted_active_ms) AS active_ms
    FROM usage_minutes AS u
    WHERE u.event_type IN ('generation', 'fallback')
        AND u.minute >= {from:DateTime('UTC')}
        AND u.minute < {to:DateTime('UTC')}
        AND ({account:String} = '' OR u.account_id = {account:String})
    GROUP BY u.model, u.query_class, u.fallback_reason
)
GROUP BY model, query_class
HAVING fallbacks > 0
ORDER BY fallbacks DESC, model, query_class
LIMIT {limit:UInt32};
