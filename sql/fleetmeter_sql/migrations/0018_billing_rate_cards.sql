-- Rate cards as they were published: each version is one row, and stays.

CREATE TABLE IF NOT EXISTS billing_rate_cards
(
    card LowCardinality(String) COMMENT 'Name of the rate card.',
    version UInt32 COMMENT 'Number of the version: 1, 2, 3, ... without gaps.',
    publication String COMMENT 'The attempt that became this version; unique.',
    currency LowCardinality(String) COMMENT 'ISO 4217 code of all its amounts.',
    effective_from Date COMMENT 'First local day of each account on which the version holds.',
    content_hash FixedString(32) COMMENT 'BLAKE2b-128 of content, in hex.',
    content String COMMENT 'The card as canonical JSON, which bills are made by.',
    source String COMMENT 'The file as it was published, comments and all.',
    reason String COMMENT 'Why, in the words of whoever published it.',
    published_by String COMMENT 'Who published it.',
    published_at DateTime64(3, 'UTC') COMMENT 'When, by their clock; for people, nothing follows from it.'
)
-- ENGINE: rows are added one by one, each by a compare-and-swap on its version, and never changed.
ENGINE = MergeTree
-- PARTITION BY: none, because ClickHouse looks for a repeated token within one table partition only.
-- ORDER BY: each card is a log of versions.
ORDER BY (card, version)
-- TTL: none; invoices name the version that they were made by.
SETTINGS
    -- The token of a version lets one of several rivals in. It must be remembered for longer than an insert can take.
    non_replicated_deduplication_window = 10000
COMMENT 'Published rate cards: immutable, with who published them and why.';
