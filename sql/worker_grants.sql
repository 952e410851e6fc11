-- What fleetmeter itself may do, as an example: run it as an administrator of a ClickHouse server, with the names of your
-- database and users. (The embedded ClickHouse has no roles.)

-- Workers, and the commands that look or decide: reconcile, positions, quarantine, usage, query.
CREATE ROLE IF NOT EXISTS fleetmeter_worker;
GRANT SELECT, INSERT ON fleetmeter.* TO fleetmeter_worker;

-- At each start a canary proves on a scratch table that the store keeps the promise, and counts the parts it made.
GRANT CREATE TABLE, DROP TABLE ON fleetmeter.ledger_canary_* TO fleetmeter_worker;
GRANT SELECT ON system.parts TO fleetmeter_worker;

-- Identities move from the ledger's blobs to tables of their own, and expire there. Never more than DELETE: dropping a
-- table partition would drop markers, too.
GRANT ALTER DELETE ON fleetmeter.ledger TO fleetmeter_worker;
GRANT ALTER DELETE, OPTIMIZE ON fleetmeter.dedup_ids TO fleetmeter_worker;
GRANT ALTER DELETE, OPTIMIZE ON fleetmeter.dedup_snapshots TO fleetmeter_worker;
GRANT SELECT ON system.mutations TO fleetmeter_worker;

-- Whether tables wait for the disk can be a default of the server.
GRANT SELECT ON system.merge_tree_settings TO fleetmeter_worker;

-- Before 26.5 ClickHouse asks for this for INSERT ... SELECT FROM input(), the form of the commit; it makes no table.
GRANT CREATE TEMPORARY TABLE ON *.* TO fleetmeter_worker;

-- `fleetmeter migrate`, which alone changes tables and views.
CREATE ROLE IF NOT EXISTS fleetmeter_migrator;
GRANT CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP VIEW, ALTER TABLE, SELECT, INSERT ON fleetmeter.* TO fleetmeter_migrator;
GRANT SELECT ON system.merge_tree_settings TO fleetmeter_migrator;

-- Billing: rate cards, accounts, closes, invoices. It adds rows, reads what was counted, and deletes only what closes
-- that were killed left behind.
CREATE ROLE IF NOT EXISTS fleetmeter_biller;
GRANT SELECT ON fleetmeter.* TO fleetmeter_biller;
GRANT INSERT ON fleetmeter.billing_* TO fleetmeter_biller;
GRANT ALTER DELETE ON fleetmeter.billing_frozen_* TO fleetmeter_biller;
GRANT ALTER DELETE ON fleetmeter.billing_unbilled TO fleetmeter_biller;

-- Servers with table_engines_require_grant want this, too:
-- GRANT TABLE ENGINE ON AggregatingMergeTree TO fleetmeter_worker;
-- GRANT TABLE ENGINE ON AggregatingMergeTree, TABLE ENGINE ON ReplacingMergeTree TO fleetmeter_migrator;
-- GRANT TABLE ENGINE ON MergeTree TO fleetmeter_migrator;

-- With FLEETMETER_CLICKHOUSE_CLUSTER, since the migrations then run on all servers of the cluster:
-- GRANT CLUSTER ON *.* TO fleetmeter_migrator;

-- GRANT fleetmeter_worker TO fleetmeter; GRANT fleetmeter_migrator TO ana;
