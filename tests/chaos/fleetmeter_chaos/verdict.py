"""Was everything counted exactly once? Judged by what producers were told, by the log itself, and by fresh cores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clickhouse_connect.driver.client import Client
from fleetmeter_jobs.audit import AuditContext, run_checks
from fleetmeter_jobs.ledger.clickhouse_store import ClickHouseStore
from fleetmeter_jobs.ledger.position import Counts, PartitionId
from fleetmeter_jobs.reconcile import reconcile
from fleetmeter_jobs.settings import Settings
from fleetmeter_jobs.usage import usage
from fleetmeter_producers.simulator import verify_oracle
from fleetmeter_producers.simulator.planned import Broken
from fleetmeter_schemas.reasons import Reason

from fleetmeter_chaos.cargo import Cargo
from fleetmeter_chaos.identities import identities_wrong
from fleetmeter_chaos.log_reading import Log

_GROUP = ("account_id", "model", "generation_mode", "event_type")
_SHOWN = 5
_AUDITED = ("positions", "chain", "arithmetic", "strays", "derived", "chunks")


@dataclass(frozen=True, slots=True)
class Chapter:
    """One log epoch: what was sent into it, and its partitions' logs as they were in the end."""

    epoch: int
    cargo: Cargo
    logs: Mapping[int, Log]

    def bad_input(self) -> Counter[str]:
        """What the log holds beside good events that come once."""
        logs = self.logs.values()
        items = [item for log in logs for _, record, _ in log.records for item in record.items]
        reasons = Counter(item.reason for item in items if isinstance(item, Broken))
        good = [log.good for log in logs]
        return +Counter(
            {
                "over-large record": reasons[Reason.TOO_LARGE],
                "malformed event": reasons.total() - reasons[Reason.TOO_LARGE],
                "event repeated in the log": sum(each.total() - len(each) for each in good),
                "control or aborted offset": sum(log.ends.end - log.ends.start - len(log.records) for log in logs),
            }
        )


def verdict(
    store: ClickHouseStore, client: Client, topic: str, bootstrap: str, chapters: Sequence[Chapter]
) -> list[str]:
    """Everything that is wrong, in sentences; nothing if every event was counted exactly once.

    Call it when nothing runs any more: no worker, no producer, no request on its way.
    """
    problems = list(_audit_wrong(store, client, topic, bootstrap, chapters[-1].logs))
    problems += _totals_wrong(client, chapters[-1].cargo)
    known: dict[int, set[int]] = {}
    for chapter in chapters:
        problems += _broker_kept_its_word(chapter.cargo, chapter.logs)
        problems += _counts_wrong(store, topic, chapter, known)
        problems += _quarantine_wrong(client, topic, chapter)
    problems += identities_wrong(store, topic, [chapter.logs for chapter in chapters])
    return problems


def _broker_kept_its_word(cargo: Cargo, logs: Mapping[int, Log]) -> Iterator[str]:
    """The log holds the good events that were acknowledged, each in one partition, and no others."""
    where: dict[int, set[int]] = {}
    for number, log in logs.items():
        for event in log.good:
            where.setdefault(event, set()).add(number)
    told, found = cargo.numbers_acknowledged(), set(where)
    if told - found:
        yield f"Kafka lost {len(told - found)} events that it had acknowledged: {_some(told - found)}"
    if found - told:
        yield f"the log holds {len(found - told)} events that no producer knows of: {_some(found - told)}"
    if split := {event for event, homes in where.items() if len(homes) > 1}:
        yield f"{len(split)} events lie in several partitions: {_some(split)}"


def _audit_wrong(
    store: ClickHouseStore, client: Client, topic: str, bootstrap: str, logs: Mapping[int, Log]
) -> Iterator[str]:
    """What `fleetmeter reconcile` and `fleetmeter audit` say. Not the audit of identities: they are asked for more
    below; not that of completeness: it takes a broker's clock that is ahead for an error, as it should."""
    report = reconcile(store, lambda: {(topic, number): log.ends for number, log in logs.items()})
    if report.total.pending:
        yield f"{report.total.pending} offsets were never counted"
    context = AuditContext(
        settings=Settings.load(kafka_bootstrap=bootstrap, topic=topic),
        store=store,
        client=client,
        reconcile=lambda: report,
        restore=lambda partition, _position: partition,
        progress=lambda _what: None,
    )
    for checked in run_checks(context, _AUDITED):
        yield from (f"audit: {finding}" for finding in checked.findings if finding.is_problem)


def _totals_wrong(client: Client, cargo: Cargo) -> Iterator[str]:
    """Every measure of every account, model and mode; every minute; facts; subjects."""
    oracle = cargo.oracle.as_dict(complete=True)
    differences = verify_oracle(oracle, usage(client, _GROUP))
    yield from map(str, differences[:_SHOWN])
    if len(differences) > _SHOWN:
        yield f"... and {len(differences) - _SHOWN} more figures"
    minutes = Counter({(each["minute"], each["event_type"]): each["events"] for each in oracle["minutes"]})
    found = Counter(
        {
            (f"{row['minute']:%Y-%m-%dT%H:%M:%S.%fZ}", row["event_type"]): row["requests"] + row["fallbacks"]
            for row in usage(client, ("minute", "event_type"))
        }
    )
    yield from _differences("events of the minute", minutes, found)
    facts = Counter({(each["event_type"], each["kind"]): each["events"] for each in oracle["facts"]})
    yield from _differences("rows of facts", facts, Counter(dict(_facts(client))))
    subjects = Counter({(each["account_id"], each["subject_kind"]): each["distinct"] for each in oracle["subjects"]})
    rows = client.query(
        "SELECT account_id, subject_kind, uniqExact(subject) FROM usage_subjects GROUP BY 1, 2"
    ).result_rows
    yield from _differences("distinct subjects", subjects, Counter({(row[0], row[1]): row[2] for row in rows}))


def _facts(client: Client) -> Iterator[tuple[tuple[str, str], int]]:
    """(event type, kind) and rows, over the tables of events that don't roll up."""
    query = (
        "SELECT event_type, kind, count() FROM usage_facts FINAL GROUP BY 1, 2 "
        "UNION ALL SELECT 'device_report', 'estimate', count() FROM usage_estimates FINAL HAVING count() > 0 "
        "UNION ALL SELECT 'adjustment', '', count() FROM usage_adjustments FINAL HAVING count() > 0"
    )
    for event_type, kind, rows in client.query(query).result_rows:
        yield (event_type, kind), rows


def _counts_wrong(store: ClickHouseStore, topic: str, chapter: Chapter, known: dict[int, set[int]]) -> Iterator[str]:
    """The markers' sums, against what the log holds. `known` has the events of the chapters before, by partition."""
    for number, log in chapter.logs.items():
        good, broken, before = log.good, log.broken.total(), known.setdefault(number, set())
        new = len(good.keys() - before)
        before.update(good)
        position = store.position(PartitionId(topic, number, chapter.epoch))
        found = position.totals if position else Counts()
        must = {
            "records": len(log.records),
            "events_in": good.total() + broken,
            "accepted": new,
            "duplicates": good.total() - new,
            "rejected": broken,
        }
        yield from (
            f"partition {number}, epoch {chapter.epoch}: {name} is {getattr(found, name)}, must be {value}"
            for name, value in must.items()
            if getattr(found, name) != value
        )


def _quarantine_wrong(client: Client, topic: str, chapter: Chapter) -> Iterator[str]:
    """A row for each refused event, under its offset, and no other."""
    rows = client.query(
        "SELECT partition, offset, count() FROM quarantine FINAL "
        "WHERE topic = {topic:String} AND epoch = {epoch:UInt32} GROUP BY partition, offset",
        {"topic": topic, "epoch": chapter.epoch},
    ).result_rows
    must = {(number, offset): count for number, log in chapter.logs.items() for offset, count in log.broken.items()}
    yield from _differences("quarantine rows at", Counter(must), Counter({(row[0], row[1]): row[2] for row in rows}))


def _differences(what: str, must: Counter[Any], found: Counter[Any]) -> Iterator[str]:
    wrong = [key for key in {**must, **found} if must[key] != found[key]]
    for key in sorted(wrong)[:_SHOWN]:
        yield f"{what} {key}: {found[key]} found, must be {must[key]}"
    if len(wrong) > _SHOWN:
        yield f"... and {len(wrong) - _SHOWN} more of these"


def _some(numbers: set[int]) -> str:
    return ", ".join(map(str, sorted(numbers)[:_SHOWN])) + (" ..." if len(numbers) > _SHOWN else "")
