"""A cluster as production has it: producer and worker log in to Kafka over TLS, and ClickHouse is https behind a
private authority. Counted to the event; and a wrong password or certificate ends in a sentence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fleetmeter_doubles.certificates import Authority
from fleetmeter_doubles.secured_kafka import PASSWORD, USER, SecuredKafka, secured_kafka
from fleetmeter_doubles.tls_front import tls_front
from fleetmeter_doubles.worker_processes import DEADLINE_S, Pipeline, eventually, new_pipeline
from fleetmeter_local import RunningClickHouse, RunningKafka
from fleetmeter_producers import ClientSettings, UsageClient
from fleetmeter_schemas import GenerationV1

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse, pytest.mark.timeout(300)]

EVENTS = 500


@dataclass
class Secured:
    """Both engines, and the settings that reach them."""

    pipeline: Pipeline
    settings: dict[str, str]
    stranger: Authority

    def emit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """EVENTS generations by the client, which has the workers' variables."""
        for name, value in self.settings.items():
            if name.startswith("kafka_"):
                monkeypatch.setenv(f"FLEETMETER_{name.upper()}", value)
        client = UsageClient(
            self.settings["kafka_bootstrap"],
            "urn:example:gpu-7",
            self.pipeline.topic,
            settings=ClientSettings.from_environment(),
        )
        for number in range(EVENTS):
            account = f"account-{number % 3}"
            data = GenerationV1(model="mercury-coder-mini", generation_mode="diffusion", input_tokens=number)
            self.pipeline.sent.append((account, client.emit(account, data), number))
        assert client.close(60).events == 0, client.stats()

    def command(self, *arguments: str, **settings: object) -> tuple[int, str, str]:
        """Exit code and output of a command."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FLEETMETER_")}
        given = {
            **self.settings,
            "topic": self.pipeline.topic,
            "clickhouse_database": self.pipeline.database,
            **settings,
        }
        done = subprocess.run(
            [sys.executable, "-m", "fleetmeter_jobs.cli", *arguments],
            env=environment | {f"FLEETMETER_{name.upper()}": str(value) for name, value in given.items()},
            cwd=self.pipeline.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert PASSWORD not in done.stdout + done.stderr
        return done.returncode, done.stdout, done.stderr

    def json_of(self, *arguments: str, **settings: object) -> Any:
        """What a command that did its work printed."""
        code, out, err = self.command(*arguments, "--json", **settings)
        assert code == 0, out + err
        return json.loads(out)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[SecuredKafka]:
    with secured_kafka(tmp_path_factory.mktemp("broker"), authority) as running:
        yield running


@pytest.fixture
def secured(
    broker: SecuredKafka, authority: Authority, clickhouse: RunningClickHouse, tmp_path: Path
) -> Iterator[Secured]:
    pipeline = new_pipeline(RunningKafka(broker.bootstrap("OPEN"), "given"), clickhouse, tmp_path, partitions=2)
    with tls_front(authority.issue("clickhouse", "localhost"), clickhouse.host, clickhouse.port) as port:
        settings = {
            "kafka_bootstrap": broker.bootstrap("TLSLOGIN"),
            "kafka_security_protocol": "SASL_SSL",
            "kafka_sasl_mechanism": "SCRAM-SHA-512",
            "kafka_user": USER,
            "kafka_password": PASSWORD,
            "kafka_ca_file": str(authority.ca_file),
            "clickhouse_url": f"https://localhost:{port}",
            "clickhouse_user": clickhouse.user,
            "clickhouse_password": clickhouse.password,
            "clickhouse_ca_file": str(authority.ca_file),
        }
        try:
            yield Secured(pipeline, settings, Authority(tmp_path / "stranger"))
        finally:
            pipeline.end()


def test_from_the_client_to_the_rollups(secured: Secured, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = secured.pipeline
    secured.emit(monkeypatch)
    worker = pipeline.start_worker(**secured.settings)
    eventually(pipeline.all_counted, "counted")
    assert worker.end(signal.SIGTERM) == 0, worker.log.read_text()
    pipeline.check()
    assert PASSWORD not in worker.log.read_text()


def test_every_kind_of_command_gets_in(secured: Secured) -> None:
    simulated = secured.json_of("simulate", "--events", "2000", "--seed", "3", "--oracle", "oracle.json")
    worker = secured.pipeline.start_worker(drain=True, **secured.settings)
    assert worker.process.wait(DEADLINE_S) == 0, worker.log.read_text()
    audited = secured.json_of("reconcile", "--oracle", "oracle.json")
    assert audited["ok"] is True
    assert sum(partition["accepted"] for partition in audited["partitions"]) == simulated["accepted"]
    assert secured.json_of("events", "show", "0/0")[0]["offset"] == 0
    assert len(secured.json_of("positions", "show")["partitions"]) == 2
    assert secured.json_of("migrate") is not None
    config = secured.json_of("config")
    assert config["kafka_password"]["value"] == "**********"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kafka_password": "wrong"}, "Check FLEETMETER_KAFKA_USER, FLEETMETER_KAFKA_PASSWORD"),
        ({"kafka_ca_file": "stranger"}, "with FLEETMETER_KAFKA_CA_FILE (given: "),
        ({"clickhouse_ca_file": "stranger"}, "with FLEETMETER_CLICKHOUSE_CA_FILE"),
    ],
    ids=["wrong password", "untrusted broker", "untrusted store"],
)
def test_what_no_waiting_mends_ends_a_starting_worker(secured: Secured, wrong: dict[str, str], said: str) -> None:
    """As with a wrong password for ClickHouse: whoever runs the worker sees it end, and not wait for ever."""
    wrong = {name: str(secured.stranger.ca_file) if value == "stranger" else value for name, value in wrong.items()}
    worker = secured.pipeline.start_worker(**{**secured.settings, **wrong})
    assert worker.process.wait(DEADLINE_S) == 1, worker.log.read_text()
    assert said in worker.log.read_text()
    assert "Traceback" not in worker.log.read_text()
    assert PASSWORD not in worker.log.read_text()


def test_commands_say_what_keeps_them_out(secured: Secured) -> None:
    stranger = secured.stranger.ca_file
    for command, wrong, exit_code, said in (
        (("simulate", "--events", "100"), {"kafka_password": "wrong"}, 4, "FLEETMETER_KAFKA_PASSWORD"),
        (("events", "show", "0/0"), {"kafka_ca_file": stranger}, 4, "FLEETMETER_KAFKA_CA_FILE"),
        (("positions", "show"), {"kafka_password": "wrong"}, 4, "FLEETMETER_KAFKA_PASSWORD"),
        (("migrate",), {"clickhouse_ca_file": stranger}, 5, "FLEETMETER_CLICKHOUSE_CA_FILE"),
        (("reconcile",), {"clickhouse_ca_file": stranger}, 5, "FLEETMETER_CLICKHOUSE_CA_FILE"),
    ):
        code, _, err = secured.command(*command, **wrong)
        assert (code, said in err, "Traceback" in err) == (exit_code, True, False), err
