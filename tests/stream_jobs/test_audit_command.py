"""`fleetmeter audit` finds what somebody has broken in the store, one thing at a time, and calls it by its name."""

from __future__ import annotations

import json
import signal
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet
from confluent_kafka import Producer
from fleetmeter_doubles.commands import run_command
from fleetmeter_doubles.schema_copies import copy_schema
from fleetmeter_doubles.worker_processes import Pipeline, eventually, new_pipeline
from fleetmeter_local import RunningClickHouse, RunningKafka
from fleetmeter_sql import TableOptions, migrate

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def counted(
    kafka: RunningKafka, clickhouse: RunningClickHouse, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    """Two partitions, counted to their ends: 400 generations, resends, garbage, and 6 outcomes, 2 of them on both."""
    pipeline = new_pipeline(kafka, clickhouse, tmp_path_factory.mktemp("audit"), partitions=2)
    try:
        pipeline.send(400, partitions=2, again=True)
        producer = Producer({"bootstrap.servers": kafka.bootstrap})
        for partition, names in ((0, "abcd"), (1, "cdef")):
            for name in names:
                producer.produce(pipeline.topic, _outcome(name), partition=partition)
        assert producer.flush(60) == 0
        worker = pipeline.start_worker(drain=True)
        assert worker.process.wait(90) == 0, worker.log.read_text()
        assert pipeline.all_counted()
        yield pipeline
    finally:
        pipeline.end()


def _outcome(name: str) -> bytes:
    event = {
        "specversion": "1.0",
        "type": "fleetmeter.outcome.v1",
        "source": "wanderer",
        "id": name,
        "subject": "account-1",
        "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "data": {"name": "ticket_resolved", "quantity": 1},
    }
    return json.dumps(event).encode()


def command(pipeline: Pipeline, *arguments: str) -> tuple[int, Any]:
    """Exit code and JSON of a command."""
    ended = run_command(
        *arguments,
        "--json",
        folder=pipeline.folder,
        kafka_bootstrap=pipeline.kafka.bootstrap,
        topic=pipeline.topic,
        clickhouse_url=pipeline.clickhouse.url,
        clickhouse_user=pipeline.clickhouse.user,
        clickhouse_password=pipeline.clickhouse.password,
        clickhouse_database=pipeline.database,
    )
    assert ended.out, ended.err
    return ended.code, ended.json


def problems(pipeline: Pipeline, *only: str) -> list[str]:
    code, found = command(pipeline, "audit", *(word for name in only for word in ("--only", name)))
    assert code == (0 if found["ok"] else 1)
    return [f"{check['check']}: {problem}" for check in found["checks"] for problem in check["problems"]]


def test_a_sound_ledger_and_facts_on_two_partitions_that_are_no_loss(counted: Pipeline) -> None:
    with counted.client() as client:
        client.command("OPTIMIZE TABLE usage_facts FINAL")
        assert client.query("SELECT count() FROM usage_facts").result_rows == [(6,)]
    code, found = command(counted, "audit")
    assert code == 0, found
    assert [check["check"] for check in found["checks"]] == [
        "tables",
        "positions",
        "chain",
        "arithmetic",
        "strays",
        "derived",
        "identities",
        "chunks",
        "completeness",
    ]
    (note,) = found["checks"][3]["notes"]
    assert "2 facts were accepted by another partition too" in note
    code, report = command(counted, "reconcile")
    assert code == 0
    assert (report["lost"], report["shared"], report["accepted"]) == (0, 2, 408)
    code, sources = command(counted, "audit", "sources", "--from", "now-1h")
    assert code == 1
    assert sources["events_counted_again"] == 2
    assert set(sources["scattered"]) == {"wanderer", "test"}
    assert set(sources["scattered"]["wanderer"]["repeated"]) == {"c", "d"}
    assert sources["scattered"]["test"]["repeated"] == {}
    assert sources["records"] == 400 * 2 + 40 + 8


Break = Callable[[Any], object]


def _altered(statement: str) -> Break:
    return lambda client: client.command(f"{statement} SETTINGS mutations_sync = 2")


def _run(*statements: str) -> Break:
    return lambda client: [client.command(statement) for statement in statements]


_UNGUARDED = "SETTINGS deduplicate_insert = 'disable', deduplicate_insert_select = 'disable'"
_COUNTS = "records, events_in, accepted"


def _marker(columns: str, values: str) -> str:
    """A marker of partition 1 that no worker wrote."""
    names = "row_kind, topic, partition, epoch, tail"
    return (
        f"INSERT INTO ledger ({names}, {columns}) SELECT {names}, {values} FROM ledger "
        f"WHERE row_kind = 'marker' AND partition = 1 AND table_partition != 0 LIMIT 1 {_UNGUARDED}"
    )


_SECOND_COMMIT = _marker(
    f"table_partition, first_offset, next_offset, {_COUNTS}",
    f"table_partition, first_offset, next_offset, {_COUNTS}",
)
_HOLE = (
    "ALTER TABLE ledger UPDATE first_offset = 1, records = records - 1 "
    "WHERE row_kind = 'marker' AND partition = 1 AND table_partition != 0 AND first_offset = 0 "
    "SETTINGS mutations_sync = 2"
)
_HOLE_AND_OVERLAP = (
    _HOLE,
    # In a table partition of its own, so that no merge joins the two.
    _marker("table_partition, first_offset, next_offset, records", "1, 1, 2, 1"),
)
_BEYOND_THE_LOG = (
    "INSERT INTO ledger (row_kind, topic, partition, epoch, table_partition, first_offset, next_offset, tail) "
    "SELECT 'marker', topic, 1, 0, 1, max(next_offset), max(next_offset) + 77, max(tail) FROM ledger "
    f"WHERE row_kind = 'marker' AND partition = 1 GROUP BY topic {_UNGUARDED}"
)
_ANOTHER_TOPIC = (
    "INSERT INTO ledger (row_kind, topic, partition, epoch, table_partition, first_offset, next_offset, tail) "
    "SELECT 'marker', topic, 1, 0, 1, max(next_offset), max(next_offset), "
    "(max(next_offset), 'zzz', 'another-id', 0, 0, 1) FROM ledger "
    f"WHERE row_kind = 'marker' AND partition = 1 GROUP BY topic {_UNGUARDED}"
)
_FUTURE = (
    "INSERT INTO watermarks (topic, partition, epoch, watermark, next_offset) "
    "SELECT DISTINCT topic, 0, 0, now64(6) + INTERVAL 1 DAY, 0 FROM ledger WHERE row_kind = 'marker'"
)
_DOUBLED_DAYS = (
    "CREATE OR REPLACE VIEW usage_days AS SELECT event_type, account_id, toDate(hour) AS day, "
    "* EXCEPT (event_type, account_id, hour, requests), requests * 2 AS requests FROM usage_hours"
)
_OTHER_MODEL = (
    "CREATE OR REPLACE VIEW usage_hours AS SELECT * EXCEPT (minute, model), 'other' AS model, "
    "toStartOfHour(minute) AS hour FROM usage_minutes"
)
_STALE_COMPLETENESS = (
    "CREATE OR REPLACE VIEW usage_completeness AS SELECT topic, partition, epoch, max(next_offset) AS next_offset, "
    "max(watermark) - 60 AS watermark FROM ledger WHERE row_kind = 'marker' GROUP BY topic, partition, epoch"
)
_EMPTY_POSITIONS = "CREATE OR REPLACE VIEW ingest_positions AS SELECT *, 0 AS offsets_counted FROM ledger WHERE 0"
_STRAY = (
    "INSERT INTO quarantine (topic, partition, epoch, offset) SELECT topic, 1, 3, 5 FROM ledger "
    "WHERE row_kind = 'marker' LIMIT 1"
)
_UNDECIDED_SKIP = (
    "INSERT INTO ledger (row_kind, event_type, topic, partition, epoch, table_partition, first_offset, next_offset, "
    "skipped_offsets, tail) SELECT 'marker', 'skip', topic, 1, 0, 1, max(next_offset), max(next_offset) + 5, 5, "
    "(max(next_offset) + 5, 'nobody', '', 0, 0, 1) FROM ledger WHERE row_kind = 'marker' AND partition = 1 "
    f"GROUP BY topic {_UNGUARDED}"
)
BREAKS: dict[str, tuple[str, str, Break]] = {
    "fsync off": (
        "tables",
        "don't wait for the disk (fsync_after_insert)",
        _run("ALTER TABLE usage_facts MODIFY SETTING fsync_after_insert = 0"),
    ),
    "few tokens": (
        "tables",
        "The ledger remembers 5 tokens",
        _run("ALTER TABLE ledger MODIFY SETTING non_replicated_deduplication_window = 5"),
    ),
    "a migration lacks": (
        "tables",
        "lacks the migration 0011",
        _altered("ALTER TABLE schema_migrations DELETE WHERE version >= 11"),
    ),
    "beyond the log": ("positions", "a log that ends at", _run(_BEYOND_THE_LOG)),
    "another topic": ("positions", "the topic was deleted and made again", _run(_ANOTHER_TOPIC)),
    "hole and overlap": ("chain", "offsets 0 to 1 are in no commit", _run(*_HOLE_AND_OVERLAP)),
    "second commit": ("chain", "Usage of these offsets is billed twice", _run(_SECOND_COMMIT)),
    "second commit's sums": ("arithmetic", "counted twice", _run(_SECOND_COMMIT)),
    "usage gone": (
        "arithmetic",
        "lost",
        _altered("ALTER TABLE ledger DELETE WHERE row_kind = 'usage' AND account_id = 'account-3'"),
    ),
    "fact gone": ("arithmetic", "lost", _altered("ALTER TABLE usage_facts DELETE WHERE event_id = 'a'")),
    "quarantine gone": ("arithmetic", "quarantine has", _altered("ALTER TABLE quarantine DELETE WHERE partition = 0")),
    "skip by nobody": ("arithmetic", "has no row in position_changes", _run(_UNDECIDED_SKIP)),
    "stray": ("strays", "1 rows of quarantine", _run(_STRAY)),
    "blobs gone": (
        "identities",
        "blobs are missing",
        _altered("ALTER TABLE ledger DELETE WHERE row_kind = 'blob' AND topic != ''"),
    ),
    "doubled days": ("derived", "usage_days, month", _run(_DOUBLED_DAYS)),
    "other model": ("derived", "under other times, accounts or dimensions", _run(_OTHER_MODEL)),
    "stale completeness": ("derived", "usage_completeness, ", _run(_STALE_COMPLETENESS)),
    "empty positions": ("derived", "ingest_positions, ", _run(_EMPTY_POSITIONS)),
    "no such view": ("derived", "usage_hours can't be read", _run("DROP VIEW usage_hours")),
    "future": ("completeness", "lies in the future", _run(_FUTURE)),
}


@pytest.fixture
def copy(counted: Pipeline, clickhouse: RunningClickHouse) -> Iterator[Pipeline]:
    """The sound database once more, to be broken."""
    name = f"{counted.database}_{uuid.uuid4().hex[:8]}"
    there = Pipeline(counted.kafka, clickhouse, counted.topic, name, counted.folder)
    with counted.client() as client:
        copy_schema(client, name)
        for (table,) in client.query(
            "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree' "
            "AND name != 'schema_migrations'"
        ).result_rows:
            client.command(f"INSERT INTO {name}.{table} SELECT * FROM {table}")
        yield there
        client.command(f"DROP DATABASE {name} SYNC")


def _cases() -> Iterator[ParameterSet]:
    """Of the ways to break what a check looks at, the others take long."""
    seen: set[str] = set()
    for name, (check, says, breaking) in BREAKS.items():
        yield pytest.param(check, says, breaking, id=name, marks=[pytest.mark.long] if check in seen else [])
        seen.add(check)


@pytest.mark.parametrize(("check", "says", "breaking"), list(_cases()))
def test_what_is_broken_is_found_by_the_check_for_it(copy: Pipeline, check: str, says: str, breaking: Break) -> None:
    assert problems(copy, check) == []
    with copy.client() as client:
        breaking(client)
    found = problems(copy, check)
    assert any(line.startswith(f"{check}: ") and says in line for line in found), found


def test_who_may_only_read_may_audit(counted: Pipeline) -> None:
    code, found = command(counted, "audit", "-s", "clickhouse_user=reader")
    assert code == 0, found


def test_tables_that_don_t_wait_for_the_disk_on_purpose_are_a_note_but_dedup_s_are_not(copy: Pipeline) -> None:
    with copy.client() as client:
        migrate(client, copy.database, options=TableOptions(fsync=False))
        asked = ("audit", "--only", "tables", "-s", "clickhouse_fsync=false")
        code, found = command(copy, *asked)
        assert code == 0, found
        (note,) = found["checks"][0]["notes"]
        assert "ledger" in note
        assert "as FLEETMETER_CLICKHOUSE_FSYNC asks" in note
        client.command("ALTER TABLE dedup_ids MODIFY SETTING fsync_part_directory = 0")
        code, found = command(copy, *asked)
        assert code == 1
        (problem,) = found["checks"][0]["problems"]
        assert problem.startswith("Inserts into dedup_ids don't wait for the disk (fsync_part_directory)")


def test_views_that_somebody_replaced_are_rebuilt_and_equal_the_ledger_again(copy: Pipeline, counted: Pipeline) -> None:
    days = "SELECT * FROM usage_days ORDER BY ALL"
    with copy.client() as client, counted.client() as sound:
        client.command(_DOUBLED_DAYS)
        assert client.query(days).result_rows != sound.query(days).result_rows
        client.command(_STALE_COMPLETENESS)
        client.command("DROP VIEW usage_hours")
        assert problems(copy, "derived")
        code, done = command(copy, "rebuild")
        assert (code, done["ok"]) == (0, True)
        assert {"usage_minutes", "usage_hours", "usage_days", "usage_completeness"} <= set(done["rebuilt"])
        assert problems(copy, "derived") == []
        assert client.query(days).result_rows == sound.query(days).result_rows


def test_a_partition_that_nobody_counts_is_a_note(
    kafka: RunningKafka, clickhouse: RunningClickHouse, tmp_path: Path
) -> None:
    pipeline = new_pipeline(kafka, clickhouse, tmp_path)
    pipeline.send(3)
    code, found = command(pipeline, "audit")
    assert code == 0
    assert "no worker has taken it" in found["checks"][1]["notes"][0]
    worker = pipeline.start_worker()
    eventually(pipeline.all_counted, "counted")
    assert worker.end(signal.SIGTERM) == 0
    assert command(pipeline, "audit", "--only", "positions")[1]["checks"][0]["notes"] == []
