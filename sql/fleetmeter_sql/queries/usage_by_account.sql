-- How much each account used, by model and generation mode.
-- param from DateTime('UTC') = now-1d: start of the span, included
-- param to DateTime('UTC') = now: end of the span, excluded
-- param account String = : only this account; empty for all
SELECT
    u.account_id AS account_id,
    u.model AS model,
    u.generation_mode AS generation_mode,
    sum(u.requests) AS requests,
    sum(u.input_tokens) AS input_tokens,
    sum(u.output_tokens) AS output_tokens,
    sum(u.denoising_steps) AS denoising_steps,
    sum(u.function_evaluations) AS function_evaluations,
    sum(u.matrix_gflop) AS matrix_gflop,
    sum(u.gpu_ms) AS gpu_ms
FROM usage_minutes AS u
WHERE u.event_type = 'generation'
    AND u.minute >= {from:DateTime('UTC')}
    AND u.minute < {to:DateTime('UTC')}
    AND ({account:String} = '' OR u.account_id = {account:String})
GROUP BY u.account_id, u.model, u.generation_mode
ORDER BY account_id, requests DESC, model, generation_mode;
