-- The ledger: everything that is counted, and the proof that it was counted once.
--
-- One flush of one Kafka partition is one insert, which ClickHouse makes visible as a whole or not at all: rollup rows
-- ('usage'), the identities they were deduplicated by ('blob') and one row that says what was read ('marker').
-- People query the views; the columns of one kind of row are empty in the others.

CREATE TABLE IF NOT EXISTS ledger
(
    row_kind Enum8('marker' = 1, 'blob' = 2, 'usage' = 3) COMMENT 'What the row is.',
    event_type LowCardinality(String) COMMENT 'Usage rows: short name of the event type, such as generation.',
    account_id String COMMENT 'Usage rows: the account that pays (the event''s subject).',
    minute DateTime('UTC') COMMENT 'Usage rows: start of the minute in which the events happened.',
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
    labels LowCardinality(String) COMMENT 'Up to 8 labels with allow-listed keys; for analysis, never for prices.',
    fallback_reason LowCardinality(String) COMMENT 'Why the query left the device.',
    fallback_model LowCardinality(String) COMMENT 'Cloud model that took over.',
    device_class LowCardinality(String) COMMENT 'Kind of device, such as phone-flagship or laptop-16gb.',
    context_band LowCardinality(String) COMMENT 'Band of input_tokens; providers reprice a whole request above such a context size.',
    steps_band LowCardinality(String) COMMENT 'Band of denoising_steps of one request, empty where no steps are reported.',
    topic LowCardinality(String) COMMENT 'Kafka topic that the events came from.',
    partition UInt32 COMMENT 'Kafka partition that the events came from.',
    epoch UInt32 COMMENT 'Log epoch: 0 until the topic was recreated or truncated and an operator said so.',
    blob_offset UInt64 COMMENT 'Blob rows: first offset of their commit.',
    table_partition UInt32 COMMENT 'Table partition, yyyymm, that the commit before named.',
    requests SimpleAggregateFunction(sum, UInt64) COMMENT 'Number of generation events.',
    fallbacks SimpleAggregateFunction(sum, UInt64) COMMENT 'Number of fallback events.',
    input_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Tokens of the prompt, all kinds, cached ones included.',
    cache_read_input_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Part of input_tokens that was read from a prompt cache.',
    cache_creation_input_tokens_5m SimpleAggregateFunction(sum, UInt64) COMMENT 'Part of input_tokens written to a 5-minute cache.',
    cache_creation_input_tokens_1h SimpleAggregateFunction(sum, UInt64) COMMENT 'Part of input_tokens written to a 1-hour cache.',
    audio_input_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Part of input_tokens that is audio.',
    image_input_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Part of input_tokens that is images.',
    output_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Tokens that were generated, all kinds, whether delivered or not.',
    reasoning_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Part of output_tokens spent on reasoning.',
    audio_output_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Part of output_tokens that is audio.',
    image_output_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Part of output_tokens that is images.',
    accepted_prediction_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Part of output_tokens that a predicted output supplied.',
    rejected_prediction_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Part of output_tokens of a prediction that was not used.',
    delivered_output_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Part of output_tokens that reached the caller, where a request was cancelled or cut off.',
    delivered_output_tokens_samples SimpleAggregateFunction(sum, UInt64) COMMENT 'Number of events that reported delivered_output_tokens; the others are not zeros.',
    draft_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Tokens that the draft model proposed.',
    accepted_draft_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Part of draft_tokens that the large model kept.',
    denoising_steps SimpleAggregateFunction(sum, UInt64) COMMENT 'Denoising steps that were done, over all blocks.',
    denoising_steps_samples SimpleAggregateFunction(sum, UInt64) COMMENT 'Number of events that reported denoising_steps; the others are not zeros.',
    max_denoising_steps SimpleAggregateFunction(sum, UInt64) COMMENT 'Denoising steps that the schedule allowed; what is missing from it was saved by stopping early.',
    max_denoising_steps_samples SimpleAggregateFunction(sum, UInt64) COMMENT 'Number of events that reported max_denoising_steps; the others are not zeros.',
    function_evaluations SimpleAggregateFunction(sum, UInt64) COMMENT 'Forward passes (NFE), prefill included.',
    function_evaluations_samples SimpleAggregateFunction(sum, UInt64) COMMENT 'Number of events that reported function_evaluations; the others are not zeros.',
    blocks SimpleAggregateFunction(sum, UInt64) COMMENT 'Blocks that were generated in turn.',
    blocks_samples SimpleAggregateFunction(sum, UInt64) COMMENT 'Number of events that reported blocks; the others are not zeros.',
    matrix_gflop SimpleAggregateFunction(sum, UInt64) COMMENT 'Matrix operations of the model, in 10^9 floating point operations, by matrix_formula.',
    matrix_gflop_samples SimpleAggregateFunction(sum, UInt64) COMMENT 'Number of events that reported matrix_gflop; the others are not zeros.',
    draft_matrix_gflop SimpleAggregateFunction(sum, UInt64) COMMENT 'Matrix operations of the draft model, in 10^9.',
    draft_matrix_gflop_samples SimpleAggregateFunction(sum, UInt64) COMMENT 'Number of events that reported draft_matrix_gflop; the others are not zeros.',
    gpu_ms SimpleAggregateFunction(sum, UInt64) COMMENT 'Accelerator time, in ms, summed over the devices that were held.',
    gpu_ms_samples SimpleAggregateFunction(sum, UInt64) COMMENT 'Number of events that reported gpu_ms; the others are not zeros.',
    latency_ms SimpleAggregateFunction(sum, UInt64) COMMENT 'Time from request to last byte, in ms.',
    latency_ms_samples SimpleAggregateFunction(sum, UInt64) COMMENT 'Number of events that reported latency_ms; the others are not zeros.',
    time_to_first_token_ms SimpleAggregateFunction(sum, UInt64) COMMENT 'Time from request to first token, in ms.',
    time_to_first_token_ms_samples SimpleAggregateFunction(sum, UInt64) COMMENT 'Number of events that reported time_to_first_token_ms; the others are not zeros.',
    tool_calls SimpleAggregateFunction(sum, UInt64) COMMENT 'Calls of tools that the model asked for.',
    web_search_requests SimpleAggregateFunction(sum, UInt64) COMMENT 'Web searches that the server did.',
    upstream_cost_nanousd SimpleAggregateFunction(sum, UInt64) COMMENT 'What the provider charged, in 10^-9 US dollars, as reported or computed by a gateway.',
    upstream_cost_nanousd_samples SimpleAggregateFunction(sum, UInt64) COMMENT 'Number of events that reported upstream_cost_nanousd; the others are not zeros.',
    quality_ppm SimpleAggregateFunction(sum, UInt64) COMMENT 'Quality score of the answer, 0 to 10^6, by the operator''s own measure.',
    quality_ppm_samples SimpleAggregateFunction(sum, UInt64) COMMENT 'Number of events that reported quality_ppm; the others are not zeros.',
    complexity_ppm SimpleAggregateFunction(sum, UInt64) COMMENT 'Complexity score of the query, 0 to 10^6, by the operator''s own measure.',
    complexity_ppm_samples SimpleAggregateFunction(sum, UInt64) COMMENT 'Number of events that reported complexity_ppm; the others are not zeros.',
    wasted_input_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Prompt tokens that the device processed in vain.',
    wasted_output_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Tokens that the device generated in vain.',
    wasted_matrix_gflop SimpleAggregateFunction(sum, UInt64) COMMENT 'Matrix operations done in vain, in 10^9.',
    wasted_matrix_gflop_samples SimpleAggregateFunction(sum, UInt64) COMMENT 'Number of events that reported wasted_matrix_gflop; the others are not zeros.',
    wasted_active_ms SimpleAggregateFunction(sum, UInt64) COMMENT 'Time that the device computed in vain, in ms.',
    wasted_active_ms_samples SimpleAggregateFunction(sum, UInt64) COMMENT 'Number of events that reported wasted_active_ms; the others are not zeros.',
    first_offset SimpleAggregateFunction(min, UInt64) COMMENT 'First offset that the row stems from.',
    next_offset SimpleAggregateFunction(max, UInt64) COMMENT 'Offset after the last that the row stems from.',
    commits SimpleAggregateFunction(sum, UInt64) COMMENT 'Marker rows: number of commits.',
    records SimpleAggregateFunction(sum, UInt64) COMMENT 'Marker rows: Kafka records that were read.',
    control_offsets SimpleAggregateFunction(sum, UInt64) COMMENT 'Marker rows: offsets taken by transaction markers.',
    aborted_offsets SimpleAggregateFunction(sum, UInt64) COMMENT 'Marker rows: offsets of records of aborted transactions.',
    events_in SimpleAggregateFunction(sum, UInt64) COMMENT 'Marker rows: events in the records; accepted + duplicates + rejected.',
    accepted SimpleAggregateFunction(sum, UInt64) COMMENT 'Marker rows: events that were counted.',
    duplicates SimpleAggregateFunction(sum, UInt64) COMMENT 'Marker rows: events whose (source, id) had been counted before.',
    rejected SimpleAggregateFunction(sum, UInt64) COMMENT 'Marker rows: events in quarantine.',
    unknown_fields SimpleAggregateFunction(sum, UInt64) COMMENT 'Marker rows: fields that this version does not know, and ignored.',
    overflowed_labels SimpleAggregateFunction(sum, UInt64) COMMENT 'Marker rows: events whose label set was counted as __other__.',
    watermark SimpleAggregateFunction(max, DateTime64(6, 'UTC')) COMMENT 'Marker rows: largest event time seen.',
    committed_at SimpleAggregateFunction(max, DateTime64(3, 'UTC')) COMMENT 'When the last commit was made.',
    tail SimpleAggregateFunction(max, Tuple(next_offset UInt64, nonce String, topic_id String, leader_epoch Int32, crc UInt32, table_partition UInt32)) COMMENT 'Marker rows: the end of the newest commit.',
    blob SimpleAggregateFunction(any, String) COMMENT 'Blob rows: identities that the commit added.'
)
-- ENGINE: every flush adds deltas; merges fold the rows of one key into one. Sums, minima and maxima don't depend on
-- the order of merges, so a reader who aggregates gets the same answer before and after them.
ENGINE = AggregatingMergeTree
-- PARTITION BY: not the time of the event but the month that the marker of the commit before named. A flush must go to
-- exactly one table partition (it would not be atomic otherwise), and rivals for the same offsets must meet in the
-- same one, because ClickHouse looks for a repeated token there. Table partitions are never dropped: markers live here.
PARTITION BY table_partition
-- PRIMARY KEY: short, because it stays in memory: the kind first, so that a worker that looks for its position reads a
-- few granules of markers and no rollups; then what people filter by.
PRIMARY KEY (row_kind, event_type, account_id, minute)
-- ORDER BY: all that tells one rollup from another, since rows equal in it are merged. Topic, partition and epoch are
-- in it so that each row can be traced to its offsets, blob_offset so that no two blobs ever merge.
ORDER BY
(
    row_kind, event_type, account_id, minute,
    model, generation_mode, provider, operation, model_version, requested_model, quantization, decoding_strategy,
    draft_model, matrix_formula, placement, route, service_tier, region, accelerator, project_id, query_class,
    cost_bearer, status, finish_reason, usage_fidelity, labels, fallback_reason, fallback_model, device_class,
    context_band, steps_band,
    topic, partition, epoch, blob_offset
)
-- TTL: none as shipped: invoices are traced back to these rows. Whoever sets one confines it to rollups
-- (`TTL minute + INTERVAL ... DELETE WHERE row_kind = 'usage'`): without markers the offsets would be counted again,
-- without blobs a resent event would.
SETTINGS
    -- The token of a commit must be remembered for longer than any insert of a rival takes; else both would count.
    -- At one flush a second and partition this is a day for one partition, an hour for 28.
    non_replicated_deduplication_window = 100000,
    -- Half the size of the default codec on rollups, and no slower to insert or read.
    default_compression_codec = 'ZSTD(1)'
COMMENT 'Internal: rollup deltas, identities and positions, one insert a commit. Query the usage_* views instead.';
