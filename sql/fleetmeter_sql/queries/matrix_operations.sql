-- How many matrix operations each generation mode takes, in all, per request and per output token.
-- param from DateTime('UTC') = now-1d: start of the span, included
-- param to DateTime('UTC') = now: end of the span, excluded
-- param account String = : only this account; empty for all
--
-- By formula too, because figures of two formulas can't be compared. Quotients are over what reported its operations;
-- for tokens that means rollups in which every request did. What no server reported is unknown, not zero.
SELECT
    u.generation_mode AS generation_mode,
    u.matrix_formula AS matrix_formula,
    sum(u.requests) AS requests,
    sum(u.matrix_gflop_samples) / requests AS reported_share,
    if(sum(u.matrix_gflop_samples) = 0, NULL, sum(u.matrix_gflop)) AS matrix_gflop,
    if(sum(u.draft_matrix_gflop_samples) = 0, NULL, sum(u.draft_matrix_gflop)) AS draft_matrix_gflop,
    sum(u.matrix_gflop) / nullIf(sum(u.matrix_gflop_samples), 0) AS gflop_per_request,
    sumIf(u.matrix_gflop, u.matrix_gflop_samples = u.requests)
        / nullIf(sumIf(u.output_tokens, u.matrix_gflop_samples = u.requests), 0) AS gflop_per_output_token
FROM usage_minutes AS u
WHERE u.event_type = 'generation'
    AND u.minute >= {from:DateTime('UTC')}
    AND u.minute < {to:DateTime('UTC')}
    AND ({account:String} = '' OR u.account_id = {account:String})
GROUP BY u.generation_mode, u.matrix_formula
ORDER BY generation_mode, matrix_formula;
