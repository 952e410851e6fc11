-- How much each account used, by model and generation mode.
-- param from DateTime('UTC') = now-1d: start of the span, included
-- param to DateTime('UTC') = now: end of the span, excluded
-- param account String = : only this account; empty for all
--
-- What no server reported is unknown, not zero.
SELECT
    u.account_id AS account_id,
    u.model AS model,
    u.generation_mode AS generation_mode,
    sum(u.requests) AS requests,
    sum(u.input_tokens) AS input_tokens,
    sum(u.output_tokens) AS output_tokens,
    if(sum(u.denoising_steps_samples) = 0, NULL, sum(u.denoising_steps)) AS denoising_steps,
    if(sum(u.function_evaluations_samples) = 0, NULL, sum(u.function_evaluations)) AS function_evaluations,
    if(sum(u.matrix_gflop_samples) = 0, NULL, sum(u.matrix_gflop)) AS matrix_gflop,
    if(sum(u.gpu_ms_samples) = 0, NULL, sum(u.gpu_ms)) AS gpu_ms
FROM usage_minutes AS u
WHERE u.event_type = 'generation'
    AND u.minute >= {from:DateTime('UTC')}
    AND u.minute < {to:DateTime('UTC')}
    AND ({account:String} = '' OR u.account_id = {account:String})
GROUP BY u.account_id, u.model, u.generation_mode
ORDER BY account_id, requests DESC, model, generation_mode;
