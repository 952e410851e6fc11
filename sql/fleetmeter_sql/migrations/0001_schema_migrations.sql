-- Which migrations this database has. The first of them, so that the runner needs no special case.

CREATE TABLE IF NOT EXISTS schema_migrations
(
    version UInt32 COMMENT 'Number of the migration; its file starts with it.',
    name String COMMENT 'Name of the migration, after the number.',
    checksum FixedString(64) COMMENT 'SHA-256 of the file, in hex; an applied migration must never change.',
    applied_at DateTime64(3, 'UTC') COMMENT 'When it was applied.'
)
-- ENGINE: two runners that start at once both record what they applied; the rows replace one another.
ENGINE = ReplacingMergeTree(applied_at)
-- ORDER BY: the checksum is part of the key, so that two runners of different builds cannot hide their disagreement.
ORDER BY (version, name, checksum)
-- PARTITION BY: none; a row a migration.
-- TTL: none; this is the database's own history.
COMMENT 'Migrations applied to this database.';
