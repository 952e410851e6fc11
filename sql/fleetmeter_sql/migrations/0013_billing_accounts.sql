-- Who pays, and by which prices: accounts and their subscriptions, as somebody applied them.
--
-- Rows are added and never changed, so that what was agreed when stays known. A later revision of the same row holds
-- instead of an earlier one; periods that are closed keep what they were closed with (billing_frozen_segments).

CREATE TABLE IF NOT EXISTS billing_accounts
(
    account_id String COMMENT 'The account, as events name it in their subject.',
    revision UInt32 COMMENT 'Counts from 1; the highest holds.',
    content_hash FixedString(64) COMMENT 'SHA-256 of what the row says, in hex.',
    name String COMMENT 'Name on the invoice.',
    currency LowCardinality(String) COMMENT 'ISO 4217 code in which the account pays.',
    time_zone LowCardinality(String) COMMENT 'IANA time zone in whose days the account''s periods begin and end.',
    period LowCardinality(String) COMMENT 'Kind of billing period: calendar (months), or anniversary.',
    anchor_day UInt8 COMMENT 'Anniversary: day of the month on which periods begin, the last day in shorter months; else 1.',
    details Map(String, String) COMMENT 'What else an invoice shows, such as address or tax_id.',
    applied_by String COMMENT 'Who applied it.',
    applied_at DateTime64(3, 'UTC') COMMENT 'When; for people, nothing follows from it.'
)
-- ENGINE: whoever applies the same file again, or after a time-out, writes the same keys; one row a key stays.
ENGINE = ReplacingMergeTree
-- ORDER BY: by account. The hash is part of the key, so that rival revisions keep a row each and all see the same one.
ORDER BY (account_id, revision, content_hash)
-- PARTITION BY: none; a few rows an account.
-- TTL: none; it is what invoices were made by.
COMMENT 'Accounts that pay, each revision a row.';

CREATE TABLE IF NOT EXISTS billing_subscriptions
(
    account_id String COMMENT 'The account.',
    from_day Date COMMENT 'Local day from which it holds, until the next row of the account.',
    revision UInt32 COMMENT 'Counts from 1 for each day; the highest holds.',
    content_hash FixedString(64) COMMENT 'SHA-256 of what the row says, in hex.',
    status LowCardinality(String) COMMENT 'trial, active, changed (as before, with what the row says anew) or cancelled.',
    card LowCardinality(String) COMMENT 'Rate card; empty where the row leaves it to the one before.',
    plan LowCardinality(String) COMMENT 'Plan of the card; likewise.',
    version UInt32 COMMENT 'Version of the card that is pinned; 0 for the newest that is effective.',
    terms String COMMENT 'Committed quantities and discounts as JSON; null where the row leaves them to the one before.',
    reason String COMMENT 'Why, in somebody''s words.',
    applied_by String COMMENT 'Who applied it.',
    applied_at DateTime64(3, 'UTC') COMMENT 'When; for people, nothing follows from it.'
)
-- ENGINE: whoever applies the same file again, or after a time-out, writes the same keys; one row a key stays.
ENGINE = ReplacingMergeTree
-- ORDER BY: an account's history in order. The hash as above.
ORDER BY (account_id, from_day, revision, content_hash)
-- PARTITION BY: none; a few rows an account.
-- TTL: none; it is what invoices were made by.
COMMENT 'What each account subscribed to, from which day on; appended, never edited.';
