-- How fast each model answers: output tokens a second as a caller sees them, and the time to the first token.
-- param from DateTime('UTC') = now-1d: start of the span, included
-- param to DateTime('UTC') = now: end of the span, excluded
-- param account String = : only this account; empty for all
--
-- tokens_per_s is over the whole request, streaming_tokens_per_s from the first token on: both are means weighted by
-- time, over rollups in which every request reported its times. A generation that delivers its answer at once has no
-- streaming phase, and none is shown.
SELECT
    u.model AS model,
    u.generation_mode AS generation_mode,
    u.placement AS placement,
    sum(u.requests) AS requests,
    sum(u.latency_ms_samples) / requests AS reported_share,
    1000 * sumIf(u.output_tokens, u.latency_ms_samples = u.requests)
        / nullIf(sumIf(u.latency_ms, u.latency_ms_samples = u.requests), 0) AS tokens_per_s,
    1000 * sumIf(u.output_tokens, u.latency_ms_samples = u.requests AND u.time_to_first_token_ms_samples = u.requests)
        / nullIf(
            sumIf(
                u.latency_ms - u.time_to_first_token_ms,
                u.latency_ms_samples = u.requests AND u.time_to_first_token_ms_samples = u.requests
            ),
            0
        ) AS streaming_tokens_per_s,
    sum(u.latency_ms) / nullIf(sum(u.latency_ms_samples), 0) AS latency_ms,
    sum(u.time_to_first_token_ms) / nullIf(sum(u.time_to_first_token_ms_samples), 0) AS time_to_first_token_ms
FROM usage_minutes AS u
WHERE u.event_type = 'generation'
    AND u.minute >= {from:DateTime('UTC')}
    AND u.minute < {to:DateTime('UTC')}
    AND ({account:String} = '' OR u.account_id = {account:String})
GROUP BY u.model, u.generation_mode, u.placement
ORDER BY tokens_per_s DESC NULLS LAST, model, generation_mode, placement;
