"""The rights that docs/security.md tells administrators to give are enough for workers, commands and producers, and
no more than that."""

from __future__ import annotations

import re
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)
from fleetmeter_doubles.certificates import Authority
from fleetmeter_doubles.secured_kafka import PASSWORD, UNPRIVILEGED, SecuredKafka, secured_kafka
from fleetmeter_doubles.worker_processes import DEADLINE_S, eventually, new_pipeline
from fleetmeter_local import RunningClickHouse, RunningKafka
from secured_pipeline import Secured

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse, pytest.mark.timeout(300)]

SECURITY = (Path(__file__).parents[2] / "docs" / "security.md").read_text("utf-8")
WORKER, PRODUCER = UNPRIVILEGED


def documented_rights(topic: str) -> list[AclBinding]:
    """What the page's kafka-acls.sh lines give, for this topic and a group of its name."""
    rights = []
    for line in re.findall(r"^kafka-acls\.sh --add (.*)$", SECURITY, re.MULTILINE):
        words = shlex.split(line)
        given: dict[str, list[str]] = {}
        for option, value in zip(words[::2], words[1::2], strict=True):
            given.setdefault(option.removeprefix("--"), []).append(value)
        (principal,), operations = given.pop("allow-principal"), given.pop("operation")
        pattern = ResourcePatternType[given.pop("resource-pattern-type", ["literal"])[0].upper()]
        ((kind, (name,)),) = given.items()
        assert name == {"topic": "fleetmeter.usage", "group": "fleetmeter"}[kind]
        rights += [
            AclBinding(
                ResourceType[kind.upper()],
                topic,
                pattern,
                principal,
                "*",
                AclOperation[re.sub(r"(?<!^)(?=[A-Z])", "_", operation).upper()],
                AclPermissionType.ALLOW,
            )
            for operation in operations
        ]
    return rights


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    with secured_kafka(tmp_path_factory.mktemp("broker"), authority) as running:
        yield running


@pytest.fixture
def secured(broker: SecuredKafka, clickhouse: RunningClickHouse, tmp_path: Path) -> Iterator[Secured]:
    pipeline = new_pipeline(RunningKafka(broker.bootstrap("OPEN"), "given"), clickhouse, tmp_path, partitions=2)
    settings = {
        "kafka_bootstrap": broker.bootstrap("LOGIN"),
        "kafka_security_protocol": "SASL_PLAINTEXT",
        "kafka_user": WORKER,
        "kafka_password": PASSWORD,
        "consumer_group": pipeline.topic,
        "clickhouse_url": clickhouse.url,
        "clickhouse_user": clickhouse.user,
        "clickhouse_password": clickhouse.password,
    }
    try:
        yield Secured(pipeline, settings)
    finally:
        pipeline.end()


def test_the_documented_rights_are_enough(
    broker: SecuredKafka, secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.allow(documented_rights(secured.pipeline.topic))
    secured.emit(monkeypatch, kafka_user=PRODUCER)
    worker = secured.pipeline.start_worker(**secured.settings)
    eventually(secured.pipeline.all_counted, "counted")
    partitions = secured.json_of("positions", "show")["partitions"]
    (full,) = [one["partition"] for one in partitions if one["position"]]  # a client's source decides on one
    assert secured.json_of("reconcile")["ok"] is True
    assert secured.json_of("events", "show", f"{full}/0")
    assert worker.end(signal.SIGTERM) == 0, worker.log.read_text()
    assert "uthoriz" not in worker.log.read_text()
    secured.pipeline.check()


def test_nobody_may_more_than_that(broker: SecuredKafka, secured: Secured) -> None:
    broker.allow(documented_rights(secured.pipeline.topic))
    secured.pipeline.send(1)
    for user, command in ((WORKER, ("simulate", "--events", "100")), (PRODUCER, ("events", "show", "0/0"))):
        code, _, err = secured.command(*command, kafka_user=user)
        assert (code, "uthoriz" in err, "Traceback" in err) == (4, True, False), err


def test_without_rights_a_starting_worker_says_so(secured: Secured) -> None:
    worker = secured.pipeline.start_worker(**secured.settings)
    assert worker.process.wait(DEADLINE_S) == 1
    assert f"does not allow this user to describe topic {secured.pipeline.topic}" in worker.log.read_text()
