-- What a close froze beside sums: facts, adjustments and distinct subjects, by identity, so that a later close knows
-- which of them are new. See billing_frozen_usage.

CREATE TABLE IF NOT EXISTS billing_frozen_facts
(
    seq UInt32 COMMENT 'Number of the close that it was frozen for; it counts if that close has this close_id.',
    close_id String COMMENT 'The attempt at a close that wrote the row.',
    usage_period LowCardinality(String) COMMENT 'Billing period in which the usage happened: of this close, or an earlier one that it corrects.',
    account_id String COMMENT 'The account that pays.',
    segment UInt16 COMMENT 'Part of the period, see billing_frozen_segments.',
    effective_time DateTime64(6, 'UTC') COMMENT 'When it counts: the event''s time, a seat''s reported period, or for a reversal the time of what it takes back.',
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
    installation String COMMENT 'Random, account-scoped, stable id of the installation.',
    user String COMMENT 'Pseudonym of the user who has the seat.',
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
-- ENGINE: rows are written once and never changed; what an attempt left behind is deleted by its close_id.
ENGINE = MergeTree
-- PARTITION BY: none. A statement's rows must become one part, so that they appear together and under one token.
-- ORDER BY: bills ask for a period, all accounts or one; then the event's identity.
ORDER BY (usage_period, account_id, segment, event_type, source, event_id)
-- TTL: none; invoices are made of these rows.
SETTINGS
    -- The token of a freeze lets no copy of the statement in, whoever sends it again.
    non_replicated_deduplication_window = 10000,
    default_compression_codec = 'ZSTD(1)'
COMMENT 'Seats, downloads, deployments, outcomes and jobs as closes froze them, one row an event and part of a period.';

CREATE TABLE IF NOT EXISTS billing_frozen_adjustments
(
    seq UInt32 COMMENT 'Number of the close that it was frozen for; it counts if that close has this close_id.',
    close_id String COMMENT 'The attempt at a close that wrote the row.',
    usage_period LowCardinality(String) COMMENT 'Billing period in which the usage happened: of this close, or an earlier one that it corrects.',
    account_id String COMMENT 'The account that pays.',
    segment UInt16 COMMENT 'Part of the period, see billing_frozen_segments.',
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
-- ENGINE: rows are written once and never changed; what an attempt left behind is deleted by its close_id.
ENGINE = MergeTree
-- PARTITION BY: none. A statement's rows must become one part, so that they appear together and under one token.
-- ORDER BY: bills ask for a period, all accounts or one; then the event's identity.
ORDER BY (usage_period, account_id, segment, source, event_id)
-- TTL: none; each is a line on an invoice.
SETTINGS
    -- The token of a freeze lets no copy of the statement in, whoever sends it again.
    non_replicated_deduplication_window = 10000,
    default_compression_codec = 'ZSTD(1)'
COMMENT 'Corrections by the operator as closes froze them, one row an event.';

CREATE TABLE IF NOT EXISTS billing_frozen_subjects
(
    seq UInt32 COMMENT 'Number of the close that it was frozen for; it counts if that close has this close_id.',
    close_id String COMMENT 'The attempt at a close that wrote the row.',
    usage_period LowCardinality(String) COMMENT 'Billing period in which the usage happened: of this close, or an earlier one that it corrects.',
    account_id String COMMENT 'The account that pays.',
    segment UInt16 COMMENT 'Part of the period, see billing_frozen_segments.',
    subject_kind LowCardinality(String) COMMENT 'user, conversation or installation.',
    subject String COMMENT 'The pseudonym, as the producer gave it.'
)
-- ENGINE: rows are written once and never changed; what an attempt left behind is deleted by its close_id.
ENGINE = MergeTree
-- PARTITION BY: none. A statement's rows must become one part, so that they appear together and under one token.
-- ORDER BY: bills ask for a period, all accounts or one; then whom they count.
ORDER BY (usage_period, account_id, segment, subject_kind, subject)
-- TTL: none as shipped; how long pseudonyms may be kept is the operator's to say.
SETTINGS
    -- The token of a freeze lets no copy of the statement in, whoever sends it again.
    non_replicated_deduplication_window = 10000,
    default_compression_codec = 'ZSTD(1)'
COMMENT 'Users, conversations and installations as closes froze them; count them distinct.';
