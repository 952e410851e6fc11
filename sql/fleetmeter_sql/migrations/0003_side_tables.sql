-- Side tables: written before the commit that they belong to, under natural keys, so that writing them again changes
-- nothing. What is exact about a count stands in the ledger alone.

CREATE TABLE IF NOT EXISTS usage_facts
(
    account_id String COMMENT 'The account that pays (the event''s subject).',
    event_type LowCardinality(String) COMMENT 'Short name of the event type.',
    source String COMMENT 'The producer; with event_id the event''s identity.',
    event_id String COMMENT 'The event''s id.',
    time DateTime64(6, 'UTC') COMMENT 'The event''s time.',
    kind LowCardinality(String) COMMENT 'What is reported.',
    period_start Nullable(DateTime64(6, 'UTC')) COMMENT 'Start of the reported period.',
    period_end Nullable(DateTime64(6, 'UTC')) COMMENT 'End of the reported period; periods of one installation are disjoint.',
    seat_kind LowCardinality(String) COMMENT 'What a seat is: a user or a device.',
    model LowCardinality(String) COMMENT 'Model that was downloaded, deployed, upgraded to, removed or used.',
    model_version LowCardinality(String) COMMENT 'Its version.',
    previous_model_version LowCardinality(String) COMMENT 'The version that an upgrade replaced.',
    quantization LowCardinality(String) COMMENT 'Number format of the weights.',
    device_class LowCardinality(String) COMMENT 'Kind of device, such as phone-flagship or laptop-16gb.',
    usage_fidelity LowCardinality(String) COMMENT 'How the quantities are known.',
    project_id LowCardinality(String) COMMENT 'Project of the account.',
    labels String COMMENT 'Up to 8 labels with allow-listed keys; for analysis, never for prices.',
    installation String COMMENT 'Random, account-scoped, stable id of the installation.',
    user String COMMENT 'Pseudonym of the user who has the seat.',
    period_hash String COMMENT 'Salted hash of the installation, rotated each period.',
    queries Nullable(UInt64) COMMENT 'Queries answered on the device: the device''s own count or its best estimate.',
    queries_lower Nullable(UInt64) COMMENT 'Least number of queries that the traits allow.',
    queries_upper Nullable(UInt64) COMMENT 'Largest number of queries that the traits allow.',
    input_tokens Nullable(UInt64) COMMENT 'Prompt tokens processed on the device.',
    input_tokens_lower Nullable(UInt64) COMMENT 'Lower bound of input_tokens.',
    input_tokens_upper Nullable(UInt64) COMMENT 'Upper bound of input_tokens.',
    output_tokens Nullable(UInt64) COMMENT 'Tokens generated on the device.',
    output_tokens_lower Nullable(UInt64) COMMENT 'Lower bound of output_tokens.',
    output_tokens_upper Nullable(UInt64) COMMENT 'Upper bound of output_tokens.',
    active_ms Nullable(UInt64) COMMENT 'Time that the device computed, in ms.',
    memory_bandwidth_mbps Nullable(UInt64) COMMENT 'Memory bandwidth of the device, in 10^6 bytes/s.',
    name LowCardinality(String) COMMENT 'Name of the outcome, such as ticket_resolved.',
    quantity Nullable(UInt64) COMMENT 'How many of them.',
    value_minor Nullable(UInt64) COMMENT 'Value to the customer, in the currency''s minor unit.',
    currency LowCardinality(String) COMMENT 'ISO 4217 code of value_minor, such as EUR.',
    reverses String COMMENT 'Id of the outcome event that this one takes back.',
    generation_id String COMMENT 'Id of the generation behind the outcome.',
    conversation String COMMENT 'Pseudonym of the conversation.',
    base_model LowCardinality(String) COMMENT 'Model that the job started from.',
    result_model LowCardinality(String) COMMENT 'Model that the job made.',
    feature LowCardinality(String) COMMENT 'Name of the premium feature.',
    status LowCardinality(String) COMMENT 'How the job ended.',
    training_tokens Nullable(UInt64) COMMENT 'Tokens that were trained on, epochs counted.',
    gpu_ms Nullable(UInt64) COMMENT 'Accelerator time, in ms, summed over the devices.',
    matrix_gflop Nullable(UInt64) COMMENT 'Matrix operations, in 10^9.',
    units Nullable(UInt64) COMMENT 'Units of the feature, in its own terms.',
    topic LowCardinality(String) COMMENT 'Kafka topic that the events came from.',
    partition UInt32 COMMENT 'Kafka partition that the events came from.',
    epoch UInt32 COMMENT 'Log epoch: 0 until the topic was recreated or truncated and an operator said so.',
    offset UInt64 COMMENT 'Kafka offset of the record.',
    event_index UInt32 COMMENT 'Place of the event within its record, from 0.'
)
-- ENGINE: a commit that is tried again writes its rows again; one row per key stays. Read it with FINAL.
ENGINE = ReplacingMergeTree
-- ORDER BY: an event is (source, id), whatever else it says, so no resend can leave two rows.
ORDER BY (source, event_id)
-- PARTITION BY: none, so that two rows of one event always meet, whatever their time.
-- TTL: none; seats, downloads and outcomes are billed from here.
SETTINGS default_compression_codec = 'ZSTD(1)'
COMMENT 'One row an event: seats, downloads, deployments, outcomes, jobs. Read it with FINAL.';

CREATE TABLE IF NOT EXISTS usage_estimates
(
    account_id String COMMENT 'The account that pays (the event''s subject).',
    event_type LowCardinality(String) COMMENT 'Short name of the event type.',
    source String COMMENT 'The producer; with event_id the event''s identity.',
    event_id String COMMENT 'The event''s id.',
    time DateTime64(6, 'UTC') COMMENT 'The event''s time.',
    kind LowCardinality(String) COMMENT 'What is reported.',
    period_start Nullable(DateTime64(6, 'UTC')) COMMENT 'Start of the reported period.',
    period_end Nullable(DateTime64(6, 'UTC')) COMMENT 'End of the reported period; periods of one installation are disjoint.',
    seat_kind LowCardinality(String) COMMENT 'What a seat is: a user or a device.',
    model LowCardinality(String) COMMENT 'Model that was downloaded, deployed, upgraded to, removed or used.',
    model_version LowCardinality(String) COMMENT 'Its version.',
    previous_model_version LowCardinality(String) COMMENT 'The version that an upgrade replaced.',
    quantization LowCardinality(String) COMMENT 'Number format of the weights.',
    device_class LowCardinality(String) COMMENT 'Kind of device, such as phone-flagship or laptop-16gb.',
    usage_fidelity LowCardinality(String) COMMENT 'How the quantities are known.',
    project_id LowCardinality(String) COMMENT 'Project of the account.',
    labels String COMMENT 'Up to 8 labels with allow-listed keys; for analysis, never for prices.',
    installation String COMMENT 'Random, account-scoped, stable id of the installation.',
    user String COMMENT 'Pseudonym of the user who has the seat.',
    period_hash String COMMENT 'Salted hash of the installation, rotated each period.',
    queries Nullable(UInt64) COMMENT 'Queries answered on the device: the device''s own count or its best estimate.',
    queries_lower Nullable(UInt64) COMMENT 'Least number of queries that the traits allow.',
    queries_upper Nullable(UInt64) COMMENT 'Largest number of queries that the traits allow.',
    input_tokens Nullable(UInt64) COMMENT 'Prompt tokens processed on the device.',
    input_tokens_lower Nullable(UInt64) COMMENT 'Lower bound of input_tokens.',
    input_tokens_upper Nullable(UInt64) COMMENT 'Upper bound of input_tokens.',
    output_tokens Nullable(UInt64) COMMENT 'Tokens generated on the device.',
    output_tokens_lower Nullable(UInt64) COMMENT 'Lower bound of output_tokens.',
    output_tokens_upper Nullable(UInt64) COMMENT 'Upper bound of output_tokens.',
    active_ms Nullable(UInt64) COMMENT 'Time that the device computed, in ms.',
    memory_bandwidth_mbps Nullable(UInt64) COMMENT 'Memory bandwidth of the device, in 10^6 bytes/s.',
    topic LowCardinality(String) COMMENT 'Kafka topic that the events came from.',
    partition UInt32 COMMENT 'Kafka partition that the events came from.',
    epoch UInt32 COMMENT 'Log epoch: 0 until the topic was recreated or truncated and an operator said so.',
    offset UInt64 COMMENT 'Kafka offset of the record.',
    event_index UInt32 COMMENT 'Place of the event within its record, from 0.'
)
-- ENGINE: a commit that is tried again writes its rows again; one row per key stays. Read it with FINAL.
ENGINE = ReplacingMergeTree
-- ORDER BY: an event is (source, id), whatever else it says, so no resend can leave two rows.
ORDER BY (source, event_id)
-- PARTITION BY: none, so that two rows of one event always meet, whatever their time.
-- TTL: none; estimates are few, and trends over years are what they are for.
SETTINGS default_compression_codec = 'ZSTD(1)'
COMMENT 'Estimates of usage on devices, with bounds; never priced, never part of the ledger. Read it with FINAL.';

CREATE TABLE IF NOT EXISTS usage_adjustments
(
    account_id String COMMENT 'The account that pays (the event''s subject).',
    event_type LowCardinality(String) COMMENT 'Short name of the event type.',
    source String COMMENT 'The producer; with event_id the event''s identity.',
    event_id String COMMENT 'The event''s id.',
    time DateTime64(6, 'UTC') COMMENT 'The event''s time.',
    meter LowCardinality(String) COMMENT 'Name of the meter that is corrected, such as output_tokens.',
    quantity Int64 COMMENT 'What is added to the meter, or taken from it.',
    reason LowCardinality(String) COMMENT 'Why, in a sentence that the customer may read.',
    reference String COMMENT 'Ticket or contract behind it.',
    effective_time Nullable(DateTime64(6, 'UTC')) COMMENT 'When the corrected usage happened; `time` is when it was decided.',
    model LowCardinality(String) COMMENT 'Model whose usage is corrected, where the meter is by model.',
    generation_mode LowCardinality(String) COMMENT 'Generation mode whose usage is corrected.',
    project_id LowCardinality(String) COMMENT 'Project of the account.',
    topic LowCardinality(String) COMMENT 'Kafka topic that the events came from.',
    partition UInt32 COMMENT 'Kafka partition that the events came from.',
    epoch UInt32 COMMENT 'Log epoch: 0 until the topic was recreated or truncated and an operator said so.',
    offset UInt64 COMMENT 'Kafka offset of the record.',
    event_index UInt32 COMMENT 'Place of the event within its record, from 0.'
)
-- ENGINE: a commit that is tried again writes its rows again; one row per key stays. Read it with FINAL.
ENGINE = ReplacingMergeTree
-- ORDER BY: an event is (source, id), whatever else it says, so no resend can leave two rows.
ORDER BY (source, event_id)
-- PARTITION BY: none, so that two rows of one event always meet, whatever their time.
-- TTL: none; each is a line on an invoice.
SETTINGS default_compression_codec = 'ZSTD(1)'
COMMENT 'Corrections by the operator, each its own invoice line. Read it with FINAL.';

CREATE TABLE IF NOT EXISTS usage_subjects
(
    account_id String COMMENT 'The account that pays.',
    day Date COMMENT 'Day (UTC) in which the events happened.',
    subject_kind LowCardinality(String) COMMENT 'user, conversation or installation.',
    subject String COMMENT 'The pseudonym, as the producer gave it.',
    first_seen SimpleAggregateFunction(min, DateTime64(6, 'UTC')) COMMENT 'First event time of the day.',
    last_seen SimpleAggregateFunction(max, DateTime64(6, 'UTC')) COMMENT 'Last event time of the day.'
)
-- ENGINE: every flush names the subjects it saw; rows of one subject and day merge to its first and last moment.
ENGINE = AggregatingMergeTree
-- PARTITION BY: by month, so that pseudonyms can be dropped by month when a privacy rule says so. The day is in the
-- key, so that rows of one key are never in two months.
PARTITION BY toYYYYMM(day)
-- ORDER BY: the questions are "how many distinct ones of this kind, in this account, between these days".
ORDER BY (account_id, subject_kind, day, subject)
-- TTL: none as shipped; how long pseudonyms may be kept is the operator's to say.
SETTINGS default_compression_codec = 'ZSTD(1)'
COMMENT 'Users, conversations and installations seen per account and day; count them distinct.';

CREATE TABLE IF NOT EXISTS quarantine
(
    topic LowCardinality(String) COMMENT 'Kafka topic that the events came from.',
    partition UInt32 COMMENT 'Kafka partition that the events came from.',
    epoch UInt32 COMMENT 'Log epoch: 0 until the topic was recreated or truncated and an operator said so.',
    offset UInt64 COMMENT 'Kafka offset of the record.',
    event_index UInt32 COMMENT 'Place of the event within its record, from 0.',
    append_time DateTime64(3, 'UTC') COMMENT 'When the broker appended the record.',
    reason LowCardinality(String) COMMENT 'Stable reason code, such as negative or too_old.',
    field String COMMENT 'The field at fault, where one is.',
    sentence String COMMENT 'What was wrong and what to do, in words.',
    payload String COMMENT 'The event''s own bytes, or their beginning.',
    payload_bytes UInt64 COMMENT 'Length of the whole payload in bytes; more than payload holds if cut.',
    replayed_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was sent again, if it was.',
    version UInt64 COMMENT '0 as the worker wrote it; then ms since the epoch of the replay.'
)
-- ENGINE: the worker writes version 0, again if the commit is tried again; a replay writes a higher one that says so.
ENGINE = ReplacingMergeTree(version)
-- ORDER BY: the event's place in Kafka is its only sure name, since it may not even be JSON.
ORDER BY (topic, partition, epoch, offset, event_index)
-- PARTITION BY: none, so that a row and its replay always meet.
-- TTL: none as shipped: the audit compares these rows to the ledger's count of rejections.
SETTINGS default_compression_codec = 'ZSTD(1)'
COMMENT 'Events that were not counted, with the reason, in words. Read it with FINAL.';

CREATE TABLE IF NOT EXISTS watermarks
(
    topic LowCardinality(String) COMMENT 'Kafka topic that the events came from.',
    partition UInt32 COMMENT 'Kafka partition that the events came from.',
    epoch UInt32 COMMENT 'Log epoch: 0 until the topic was recreated or truncated and an operator said so.',
    watermark SimpleAggregateFunction(max, DateTime64(6, 'UTC')) COMMENT 'Time up to which an idle partition is known to hold nothing more.',
    next_offset SimpleAggregateFunction(max, UInt64) COMMENT 'Position at which the partition was idle.'
)
-- ENGINE: watermarks only rise, so rows of one partition merge to the highest.
ENGINE = AggregatingMergeTree
-- ORDER BY: one row a partition is all there is.
ORDER BY (topic, partition, epoch)
-- PARTITION BY: none; a few rows.
-- TTL: none; without its watermark an idle partition would hold back every minute.
COMMENT 'Watermarks of idle partitions, beside those in the ledger''s markers.';
