-- What a close froze: usage by account, part of the period and everything that a price may look at (so: no labels).
--
-- A close is one row in billing_closes, and these rows are the numbers behind it. They are written before it, under a
-- fresh close_id, and nobody reads them until that row names it. The frozen usage of a period is the sum over all closes
-- that took effect: the close of the period itself, and the corrections that later closes added, which may be negative.

CREATE TABLE IF NOT EXISTS billing_frozen_usage
(
    seq UInt32 COMMENT 'Number of the close that it was frozen for; it counts if that close has this close_id.',
    close_id String COMMENT 'The attempt at a close that wrote the row.',
    usage_period LowCardinality(String) COMMENT 'Billing period in which the usage happened: of this close, or an earlier one that it corrects.',
    account_id String COMMENT 'The account that pays.',
    segment UInt16 COMMENT 'Part of the period, see billing_frozen_segments.',
    event_type LowCardinality(String) COMMENT 'Short name of the event type, such as generation.',
    model LowCardinality(String) COMMENT 'Model that did the work, as the fleet names it.',
    generation_mode LowCardinality(String) COMMENT 'How text came about: token by token, in parallel, in parallel by block, or a draft refined in parallel.',
    provider LowCardinality(String) COMMENT 'Who ran the model: a provider''s name, or the fleet''s own.',
    operation LowCardinality(String) COMMENT 'What was asked for.',
    model_version LowCardinality(String) COMMENT 'Version or checkpoint of the model.',
    requested_model LowCardinality(String) COMMENT 'Model that the caller asked for, where a router chose another.',
    quantization LowCardinality(String) COMMENT 'Number format of the weights, such as bf16, fp8 or q4_k_m.',
    decoding_strategy LowCardinality(String) COMMENT 'How positions are chosen or unmasked, such as low_confidence, semi_autoregressive, adaptive_parallel, slow_fast or speculative.',
    draft_model LowCardinality(String) COMMENT 'Small model that wrote the draft, in hybrid and speculative generation.',
    matrix_formula LowCardinality(String) COMMENT 'Name and version of the formula behind matrix_gflop.',
    placement LowCardinality(String) COMMENT 'Where the work ran.',
    route LowCardinality(String) COMMENT 'How the request got there: straight, to the device first, or to the cloud after the device.',
    service_tier LowCardinality(String) COMMENT 'Class of service that the caller chose.',
    region LowCardinality(String) COMMENT 'Region where the work ran.',
    accelerator LowCardinality(String) COMMENT 'Hardware that did the work, such as h100-sxm or apple-m4.',
    project_id LowCardinality(String) COMMENT 'Project of the account that asked.',
    query_class LowCardinality(String) COMMENT 'Kind of query in the operator''s own terms, such as simple or complex.',
    cost_bearer LowCardinality(String) COMMENT 'Who pays the provider: the platform, or the customer who brings a model.',
    status LowCardinality(String) COMMENT 'How the generation ended.',
    finish_reason LowCardinality(String) COMMENT 'Why the model stopped, in the server''s words.',
    usage_fidelity LowCardinality(String) COMMENT 'How the quantities are known.',
    fallback_reason LowCardinality(String) COMMENT 'Why the query left the device.',
    fallback_model LowCardinality(String) COMMENT 'Cloud model that took over.',
    device_class LowCardinality(String) COMMENT 'Kind of device, such as phone-flagship or laptop-16gb.',
    context_band LowCardinality(String) COMMENT 'Band of input_tokens; providers reprice a whole request above such a context size.',
    steps_band LowCardinality(String) COMMENT 'Band of denoising_steps of one request, empty where no steps are reported.',
    requests Int128 COMMENT 'Number of generation events.',
    fallbacks Int128 COMMENT 'Number of fallback events.',
    input_tokens Int128 COMMENT 'Tokens of the prompt, all kinds, cached ones included.',
    cache_read_input_tokens Int128 COMMENT 'Part of input_tokens that was read from a prompt cache.',
    cache_creation_input_tokens_5m Int128 COMMENT 'Part of input_tokens written to a 5-minute cache.',
    cache_creation_input_tokens_1h Int128 COMMENT 'Part of input_tokens written to a 1-hour cache.',
    audio_input_tokens Int128 COMMENT 'Part of input_tokens that is audio.',
    image_input_tokens Int128 COMMENT 'Part of input_tokens that is images.',
    output_tokens Int128 COMMENT 'Tokens that were generated, all kinds, whether delivered or not.',
    reasoning_tokens Int128 COMMENT 'Part of output_tokens spent on reasoning.',
    audio_output_tokens Int128 COMMENT 'Part of output_tokens that is audio.',
    image_output_tokens Int128 COMMENT 'Part of output_tokens that is images.',
    accepted_prediction_tokens Int128 COMMENT 'Part of output_tokens that a predicted output supplied.',
    rejected_prediction_tokens Int128 COMMENT 'Part of output_tokens of a prediction that was not used.',
    delivered_output_tokens Int128 COMMENT 'Part of output_tokens that reached the caller, where a request was cancelled or cut off.',
    delivered_output_tokens_samples Int128 COMMENT 'Number of events that reported delivered_output_tokens; the others are not zeros.',
    draft_tokens Int128 COMMENT 'Tokens that the draft model proposed.',
    accepted_draft_tokens Int128 COMMENT 'Part of draft_tokens that the large model kept.',
    denoising_steps Int128 COMMENT 'Denoising steps that were done, over all blocks.',
    denoising_steps_samples Int128 COMMENT 'Number of events that reported denoising_steps; the others are not zeros.',
    max_denoising_steps Int128 COMMENT 'Denoising steps that the schedule allowed; what is missing from it was saved by stopping early.',
    max_denoising_steps_samples Int128 COMMENT 'Number of events that reported max_denoising_steps; the others are not zeros.',
    function_evaluations Int128 COMMENT 'Forward passes (NFE), prefill included.',
    function_evaluations_samples Int128 COMMENT 'Number of events that reported function_evaluations; the others are not zeros.',
    blocks Int128 COMMENT 'Blocks that were generated in turn.',
    blocks_samples Int128 COMMENT 'Number of events that reported blocks; the others are not zeros.',
    matrix_gflop Int128 COMMENT 'Matrix operations of the model, in 10^9 floating point operations, by matrix_formula.',
    matrix_gflop_samples Int128 COMMENT 'Number of events that reported matrix_gflop; the others are not zeros.',
    draft_matrix_gflop Int128 COMMENT 'Matrix operations of the draft model, in 10^9.',
    draft_matrix_gflop_samples Int128 COMMENT 'Number of events that reported draft_matrix_gflop; the others are not zeros.',
    gpu_ms Int128 COMMENT 'Accelerator time, in ms, summed over the devices that were held.',
    gpu_ms_samples Int128 COMMENT 'Number of events that reported gpu_ms; the others are not zeros.',
    latency_ms Int128 COMMENT 'Time from request to last byte, in ms.',
    latency_ms_samples Int128 COMMENT 'Number of events that reported latency_ms; the others are not zeros.',
    time_to_first_token_ms Int128 COMMENT 'Time from request to first token, in ms.',
    time_to_first_token_ms_samples Int128 COMMENT 'Number of events that reported time_to_first_token_ms; the others are not zeros.',
    tool_calls Int128 COMMENT 'Calls of tools that the model asked for.',
    web_search_requests Int128 COMMENT 'Web searches that the server did.',
    upstream_cost_nanousd Int128 COMMENT 'What the provider charged, in 10^-9 US dollars, as reported or computed by a gateway.',
    upstream_cost_nanousd_samples Int128 COMMENT 'Number of events that reported upstream_cost_nanousd; the others are not zeros.',
    quality_ppm Int128 COMMENT 'Quality score of the answer, 0 to 10^6, by the operator''s own measure.',
    quality_ppm_samples Int128 COMMENT 'Number of events that reported quality_ppm; the others are not zeros.',
    complexity_ppm Int128 COMMENT 'Complexity score of the query, 0 to 10^6, by the operator''s own measure.',
    complexity_ppm_samples Int128 COMMENT 'Number of events that reported complexity_ppm; the others are not zeros.',
    wasted_input_tokens Int128 COMMENT 'Prompt tokens that the device processed in vain.',
    wasted_output_tokens Int128 COMMENT 'Tokens that the device generated in vain.',
    wasted_matrix_gflop Int128 COMMENT 'Matrix operations done in vain, in 10^9.',
    wasted_matrix_gflop_samples Int128 COMMENT 'Number of events that reported wasted_matrix_gflop; the others are not zeros.',
    wasted_active_ms Int128 COMMENT 'Time that the device computed in vain, in ms.',
    wasted_active_ms_samples Int128 COMMENT 'Number of events that reported wasted_active_ms; the others are not zeros.'
)
-- ENGINE: rows are written once and never changed; what an attempt left behind is deleted by its close_id.
ENGINE = MergeTree
-- PARTITION BY: none. A statement's rows must become one part, so that they appear together and under one token.
-- ORDER BY: bills ask for a period, all accounts or one.
ORDER BY (usage_period, account_id, segment, seq, close_id)
-- TTL: none; invoices are made of these rows, and again made of them when somebody asks.
SETTINGS
    -- The token of a freeze lets no copy of the statement in, whoever sends it again.
    non_replicated_deduplication_window = 10000,
    default_compression_codec = 'ZSTD(1)'
COMMENT 'Usage as closes froze it, signed; the sum over the closes in billing_closes is what was billed.';
