-- Invoices as they were issued. Each is a pure function of closes and cards, so that making them again writes the same
-- rows under the same keys; an invoice counts once its row in billing_invoices is there, which is written last.

CREATE TABLE IF NOT EXISTS billing_invoices
(
    period String COMMENT 'Billing period, such as 2026-11, or 2026-11-15 for one that begins on an anniversary.',
    account_id String COMMENT 'The account that pays.',
    number String COMMENT 'Invoice number: the period and the account''s rank in its close.',
    close_id String COMMENT 'The close that froze the usage behind it.',
    currency LowCardinality(String) COMMENT 'Currency of all amounts, by ISO 4217.',
    lines UInt32 COMMENT 'Number of its lines.',
    charges Decimal(38, 4) COMMENT 'Sum of the lines about the period itself.',
    corrections Decimal(38, 4) COMMENT 'Sum of the lines about earlier periods.',
    total Decimal(38, 4) COMMENT 'Sum of all lines.',
    content_hash FixedString(64) COMMENT 'SHA-256 of the invoice and its lines, hexadecimal.',
    document String COMMENT 'The invoice without its lines, as JSON.'
)
-- ENGINE: written again it is the same row; one stays.
ENGINE = ReplacingMergeTree
-- ORDER BY: there is one invoice for an account and period, and this is its key.
ORDER BY (period, account_id)
-- PARTITION BY: none; an invoice is a small row, and a period has one an account.
-- TTL: none; whoever has to keep invoices for ten years keeps them here.
COMMENT 'Invoices as issued, one an account and period. Read it with FINAL.';

CREATE TABLE IF NOT EXISTS billing_invoice_lines
(
    period String COMMENT 'Billing period of the invoice.',
    account_id String COMMENT 'The account that pays.',
    number String COMMENT 'Invoice number.',
    line UInt32 COMMENT 'Number of the line, from 1.',
    kind LowCardinality(String) COMMENT 'usage, fixed, credit, minimum, discount or adjustment.',
    usage_period String COMMENT 'Period whose usage the line is about; an earlier one in corrections.',
    correction Bool COMMENT 'Whether the line corrects an earlier period.',
    price LowCardinality(String) COMMENT 'Name of the price in its rate card.',
    part LowCardinality(String) COMMENT 'Which line of that price, where it has several.',
    meter LowCardinality(String) COMMENT 'Meter that was priced; empty for fixed amounts.',
    card LowCardinality(String) COMMENT 'Name of the rate card.',
    version UInt32 COMMENT 'Version of the rate card.',
    quantity Decimal(76, 12) COMMENT 'What was used, in unit; the document has it with all digits.',
    unit LowCardinality(String) COMMENT 'Unit of the quantity.',
    amount Decimal(38, 4) COMMENT 'What is charged, rounded once, in the currency of the invoice.',
    currency LowCardinality(String) COMMENT 'Currency of the amount, by ISO 4217.',
    document String COMMENT 'The whole line, with tiers and explanation, as JSON.'
)
-- ENGINE: written again it is the same row; one stays.
ENGINE = ReplacingMergeTree
-- ORDER BY: an invoice's lines lie together, in their order.
ORDER BY (period, account_id, line)
-- PARTITION BY: none; some twenty rows an invoice.
-- TTL: none; see billing_invoices.
COMMENT 'Lines of the invoices, as issued. Read it with FINAL, and only for invoices in billing_invoices.';
