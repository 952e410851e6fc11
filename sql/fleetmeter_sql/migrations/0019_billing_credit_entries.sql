-- Prepaid credits: what accounts bought, and what settled which invoice.

CREATE TABLE IF NOT EXISTS billing_credit_entries
(
    account_id String COMMENT 'The account.',
    number UInt32 COMMENT 'Number of the entry in the account''s log: 1, 2, 3, ... without gaps.',
    entry String COMMENT 'The attempt that became this entry; unique.',
    kind LowCardinality(String) COMMENT 'grant, or draw.',
    parts String COMMENT 'JSON: [grant, credits] pairs; of a draw what it took from which, below zero if it gave back.',
    day Date COMMENT 'A grant''s first day; of a draw the last day of the period that it settles.',
    expires Date COMMENT 'First day on which a grant can''t be drawn any more; the last day of the type for never.',
    invoice String COMMENT 'Invoice that a draw settles.',
    covered Decimal(38, 4) COMMENT 'Money of that invoice that the draw settles.',
    currency LowCardinality(String) COMMENT 'Currency of covered, by ISO 4217.',
    reason String COMMENT 'Why, in somebody''s words.',
    added_by String COMMENT 'Who added it.',
    added_at DateTime64(3, 'UTC') COMMENT 'When, by their clock; for people, nothing follows from it.'
)
-- ENGINE: rows are added one by one, each by a compare-and-swap on its number, and never changed.
ENGINE = MergeTree
-- PARTITION BY: none, because ClickHouse looks for a repeated token within one table partition only.
-- ORDER BY: each account is a log of entries.
ORDER BY (account_id, number)
-- TTL: none; it is what customers paid for.
SETTINGS
    -- The token of an entry lets one of several rivals in. It must be remembered for longer than an insert can take.
    non_replicated_deduplication_window = 100000
COMMENT 'Prepaid credits, bought and drawn down, as a log per account.';
