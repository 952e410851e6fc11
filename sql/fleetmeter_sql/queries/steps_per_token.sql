-- How many denoising steps and function evaluations an output token takes, over time, by model and generation mode.
-- param from DateTime('UTC') = now-1d: start of the span, included
-- param to DateTime('UTC') = now: end of the span, excluded
-- param bucket_s UInt32 = 3600: width of a row in time, in seconds; a whole number of minutes
-- param model String = : only this model; empty for all
--
-- A server that reports no steps has not done zero steps. steps_band is empty exactly where no steps were reported, so
-- it picks the tokens that belong to the steps. For function evaluations only rollups count in which every request
-- reported them. reported_share says how much of the requests that leaves.
SELECT
    toStartOfInterval(u.minute, toIntervalSecond({bucket_s:UInt32})) AS bucket,
    u.model AS model,
    u.generation_mode AS generation_mode,
    sum(u.requests) AS requests,
    sum(u.denoising_steps_samples) / requests AS steps_reported_share,
    sum(u.denoising_steps) / nullIf(sum(u.denoising_steps_samples), 0) AS steps_per_request,
    sumIf(u.denoising_steps, u.steps_band != '') / nullIf(sumIf(u.output_tokens, u.steps_band != ''), 0)
        AS steps_per_output_token,
    sum(u.function_evaluations_samples) / requests AS evaluations_reported_share,
    sum(u.function_evaluations) / nullIf(sum(u.function_evaluations_samples), 0) AS evaluations_per_request,
    sumIf(u.function_evaluations, u.function_evaluations_samples = u.requests)
        / nullIf(sumIf(u.output_tokens, u.function_evaluations_samples = u.requests), 0)
        AS evaluations_per_output_token
FROM usage_minutes AS u
WHERE u.event_type = 'generation'
    AND u.minute >= {from:DateTime('UTC')}
    AND u.minute < {to:DateTime('UTC')}
    AND ({model:String} = '' OR u.model = {model:String})
GROUP BY bucket, u.model, u.generation_mode
ORDER BY bucket, model, generation_mode;
