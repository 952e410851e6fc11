-- Read-only access for data teams, as an example: run it as an administrator of a ClickHouse server, with the names of
-- your database and people. (The embedded ClickHouse has no roles; its user `reader` can read and change nothing.)

-- readonly = 2: nothing can be changed but the settings of one's own queries, which drivers and dashboards set.
CREATE ROLE IF NOT EXISTS fleetmeter_reader SETTINGS readonly = 2, max_execution_time = 60;

GRANT SELECT ON fleetmeter.usage_minutes TO fleetmeter_reader;
GRANT SELECT ON fleetmeter.usage_hours TO fleetmeter_reader;
GRANT SELECT ON fleetmeter.usage_days TO fleetmeter_reader;
GRANT SELECT ON fleetmeter.usage_completeness TO fleetmeter_reader;
GRANT SELECT ON fleetmeter.ingest_positions TO fleetmeter_reader;
GRANT SELECT ON fleetmeter.usage_facts TO fleetmeter_reader;
GRANT SELECT ON fleetmeter.usage_estimates TO fleetmeter_reader;
GRANT SELECT ON fleetmeter.usage_adjustments TO fleetmeter_reader;
GRANT SELECT ON fleetmeter.position_changes TO fleetmeter_reader;
GRANT SELECT ON fleetmeter.partition_growth TO fleetmeter_reader;
GRANT SELECT ON fleetmeter.schema_migrations TO fleetmeter_reader;

-- The views run with the rights of who asks, so their tables are needed too; not the identities in the blobs.
GRANT SELECT ON fleetmeter.watermarks TO fleetmeter_reader;
GRANT SELECT ON fleetmeter.ledger TO fleetmeter_reader;
REVOKE SELECT(blob) ON fleetmeter.ledger FROM fleetmeter_reader;

-- Why events were rejected, but not what they held.
GRANT SELECT ON fleetmeter.quarantine TO fleetmeter_reader;
REVOKE SELECT(payload) ON fleetmeter.quarantine FROM fleetmeter_reader;

-- Pseudonyms of users, for those who count them (the query active_subjects) and nobody else.
CREATE ROLE IF NOT EXISTS fleetmeter_subjects_reader;
GRANT SELECT ON fleetmeter.usage_subjects TO fleetmeter_subjects_reader;

-- GRANT fleetmeter_reader TO ana, grafana;
