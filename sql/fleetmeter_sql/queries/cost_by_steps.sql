-- What a parallel generation costs by its number of steps, beside the length of its answer, which cost does not follow.
-- param from DateTime('UTC') = now-1d: start of the span, included
-- param to DateTime('UTC') = now: end of the span, excluded
-- param model String = : only this model; empty for all
--
-- One row per model, kind of query and band of steps. Where answers of one band differ in length and not in cost, steps
-- drive the cost. Means are over the requests that reported the figure.
SELECT
    u.model AS model,
    u.query_class AS query_class,
    u.steps_band AS steps_band,
    sum(u.requests) AS requests,
    sum(u.output_tokens) / requests AS output_tokens_per_request,
    sum(u.denoising_steps) / sum(u.denoising_steps_samples) AS steps_per_request,
    sum(u.denoising_steps) / nullIf(sum(u.output_tokens), 0) AS steps_per_output_token,
    sum(u.function_evaluations) / nullIf(sum(u.function_evaluations_samples), 0) AS evaluations_per_request,
    sum(u.matrix_gflop) / nullIf(sum(u.matrix_gflop_samples), 0) AS gflop_per_request,
    sum(u.gpu_ms) / nullIf(sum(u.gpu_ms_samples), 0) AS gpu_ms_per_request
FROM usage_minutes AS u
WHERE u.event_type = 'generation'
    AND u.steps_band != ''
    AND u.minute >= {from:DateTime('UTC')}
    AND u.minute < {to:DateTime('UTC')}
    AND ({model:String} = '' OR u.model = {model:String})
GROUP BY u.model, u.query_class, u.steps_band
ORDER BY model, query_class, steps_per_request, steps_band;
