-- The log of closes: one row is one closed period, and everything frozen under its close_id.

CREATE TABLE IF NOT EXISTS billing_closes
(
    seq UInt32 COMMENT 'Number of the close: 1, 2, 3, ... without gaps.',
    close_id String COMMENT 'The attempt that became this close; rows frozen under it count, those of others don''t.',
    period LowCardinality(String) COMMENT 'The period that it closed: 2026-11, or 2026-11-15 for those that begin on that day.',
    starts DateTime('UTC') COMMENT 'Earliest start of the period, over all accounts and their time zones.',
    ends DateTime('UTC') COMMENT 'Latest end of the period, likewise.',
    corrected Array(String) COMMENT 'Earlier periods that were compared with what had been frozen of them.',
    accounts UInt32 COMMENT 'Accounts that have this period.',
    lateness_s UInt32 COMMENT 'Seconds by which every watermark had to be past the end.',
    watermark DateTime64(6, 'UTC') COMMENT 'Lowest watermark when completeness was checked.',
    positions Array(Tuple(topic String, partition UInt32, epoch UInt32, next_offset UInt64)) COMMENT 'Committed positions then: all usage below them is frozen.',
    cards Array(Tuple(card String, version UInt32)) COMMENT 'Rate card versions that the frozen segments name.',
    segments UInt64 COMMENT 'Rows in billing_frozen_segments.',
    usage_rows UInt64 COMMENT 'Rows in billing_frozen_usage.',
    facts UInt64 COMMENT 'Rows in billing_frozen_facts.',
    adjustments UInt64 COMMENT 'Rows in billing_frozen_adjustments.',
    subjects UInt64 COMMENT 'Rows in billing_frozen_subjects.',
    unbilled UInt64 COMMENT 'Rows in billing_unbilled.',
    checksums Array(UInt64) COMMENT 'Of each of these tables, in this order, the sum of its rows'' hashes.',
    closed_by String COMMENT 'Who closed it.',
    closed_at DateTime64(3, 'UTC') COMMENT 'When, by the closer''s clock; for people, nothing follows from it.'
)
-- ENGINE: rows are added one by one, each by a compare-and-swap, and never changed.
ENGINE = MergeTree
-- PARTITION BY: none, because ClickHouse looks for a repeated token within one table partition only.
-- ORDER BY: it is a log.
ORDER BY seq
-- TTL: none; invoices rest on it.
SETTINGS
    -- The token of a close lets one of several rivals in. It must be remembered for longer than an insert can take.
    non_replicated_deduplication_window = 100000
COMMENT 'Closed periods in the order in which they were closed; what is frozen counts if its close_id stands here.';

CREATE TABLE IF NOT EXISTS billing_frozen_segments
(
    seq UInt32 COMMENT 'Number of the close that it was frozen for; it counts if that close has this close_id.',
    close_id String COMMENT 'The attempt at a close that wrote the row.',
    usage_period LowCardinality(String) COMMENT 'The billing period: of this close, or an earlier one that the account was not part of then.',
    account_id String COMMENT 'The account.',
    segment UInt16 COMMENT 'Number of the part within the account''s period, from 0.',
    start DateTime('UTC') COMMENT 'First moment of the part: a midnight in the account''s time zone.',
    end DateTime('UTC') COMMENT 'First moment after it.',
    first_day Date COMMENT 'First local day of the part.',
    days UInt16 COMMENT 'Local days of the part.',
    period_days UInt16 COMMENT 'Local days of the whole period.',
    status LowCardinality(String) COMMENT 'trial or active; none where no subscription holds, so that nothing is charged.',
    card LowCardinality(String) COMMENT 'Rate card.',
    version UInt32 COMMENT 'Its version.',
    plan LowCardinality(String) COMMENT 'Plan of the card.',
    committed Map(String, UInt64) COMMENT 'Quantities that were committed to, such as seats, devices or capacity.',
    discounts String COMMENT 'Discounts, as JSON.',
    currency LowCardinality(String) COMMENT 'ISO 4217 code in which the account pays.',
    time_zone LowCardinality(String) COMMENT 'IANA time zone of the account.',
    name String COMMENT 'Name of the account on the invoice.',
    details Map(String, String) COMMENT 'What else an invoice shows, such as address or tax_id.'
)
-- ENGINE: rows are written once and never changed; what an attempt left behind is deleted by its close_id.
ENGINE = MergeTree
-- PARTITION BY: none. A statement's rows must become one part, so that they appear together and under one token.
-- ORDER BY: bills ask for a period, all accounts or one.
ORDER BY (usage_period, account_id, segment, seq, close_id)
-- TTL: none; invoices rest on it.
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Parts of accounts'' periods with their card version and plan, as they were when the period was closed.';

CREATE TABLE IF NOT EXISTS billing_unbilled
(
    seq UInt32 COMMENT 'Number of the close that listed it; it counts if that close has this close_id.',
    close_id String COMMENT 'The attempt at a close that wrote the row.',
    usage_period LowCardinality(String) COMMENT 'The billing period.',
    account_id String COMMENT 'The account, as events name it.',
    reason LowCardinality(String) COMMENT 'no_account (nobody applied such an account) or no_subscription (none held then).',
    requests Int128 COMMENT 'Generations.',
    fallbacks Int128 COMMENT 'Fallbacks.',
    input_tokens Int128 COMMENT 'Tokens of prompts.',
    output_tokens Int128 COMMENT 'Tokens generated.',
    facts Int128 COMMENT 'Seats, downloads, outcomes, jobs and adjustments.'
)
-- ENGINE: rows are written once and never changed; what an attempt left behind is deleted by its close_id.
ENGINE = MergeTree
-- PARTITION BY: none. A statement's rows must become one part, so that they appear together and under one token.
-- ORDER BY: people ask for a period.
ORDER BY (usage_period, account_id, seq, close_id)
-- TTL: none; it is evidence.
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Usage that no subscription covers, as closes found it: listed, so that none is dropped without a word.';
