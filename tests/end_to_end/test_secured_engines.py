"""A cluster as production has it: producer and worker log in to Kafka over TLS, and ClickHouse is https behind a
private authority. Counted to the event; and a wrong password or certificate ends in a sentence."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleetmeter_doubles.certificates import Authority
from fleetmeter_doubles.secured_kafka import PASSWORD, USER, SecuredKafka, secured_kafka
from fleetmeter_doubles.tls_front import tls_front
from fleetmeter_doubles.worker_processes import DEADLINE_S, eventually, new_pipeline
from fleetmeter_local import RunningClickHouse, RunningKafka
from fleetmeter_producers import ClientSettings, UsageClient
from fleetmeter_schemas import GenerationV1
from secured_pipeline import Secured

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse, pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[SecuredKafka]:
    with secured_kafka(tmp_path_factory.mktemp("broker"), authority) as running:
        yield running


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """The CA file of an authority that neither engine has its certificate from."""
    return Authority(tmp_path / "stranger").ca_file


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
            yield Secured(pipeline, settings)
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


def test_what_a_dead_client_left_is_sent_with_the_same_settings(secured: Secured, tmp_path: Path) -> None:
    settings = ClientSettings(spool_dir=tmp_path / "spool", exit_drain_s=0)
    client = UsageClient("127.0.0.1:1", "urn:example:gpu-8", secured.pipeline.topic, settings=settings)
    client.emit("account-1", GenerationV1(model="mercury-coder-mini", generation_mode="diffusion"))
    assert client.close(0).events == 1
    (drained,) = secured.json_of("spool", "drain", str(tmp_path / "spool"), "--timeout", "30")
    assert (drained["sent"], drained["left"]) == (1, 0)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kafka_password": "wrong"}, "Check FLEETMETER_KAFKA_USER, FLEETMETER_KAFKA_PASSWORD"),
        ({"kafka_ca_file": "stranger"}, "with FLEETMETER_KAFKA_CA_FILE (given: "),
        ({"clickhouse_ca_file": "stranger"}, "with FLEETMETER_CLICKHOUSE_CA_FILE"),
    ],
    ids=["wrong password", "untrusted broker", "untrusted store"],
)
def test_what_no_waiting_mends_ends_a_starting_worker(
    secured: Secured, stranger: Path, wrong: dict[str, str], said: str
) -> None:
    """As with a wrong password for ClickHouse: whoever runs the worker sees it end, and not wait for ever."""
    wrong = {name: str(stranger) if value == "stranger" else value for name, value in wrong.items()}
    worker = secured.pipeline.start_worker(**{**secured.settings, **wrong})
    assert worker.process.wait(DEADLINE_S) == 1, worker.log.read_text()
    assert said in worker.log.read_text()
    assert "Traceback" not in worker.log.read_text()
    assert PASSWORD not in worker.log.read_text()


def test_commands_say_what_keeps_them_out(secured: Secured, stranger: Path) -> None:
    for command, wrong, exit_code, said in (
        (("simulate", "--events", "100"), {"kafka_password": "wrong"}, 4, "FLEETMETER_KAFKA_PASSWORD"),
        (("events", "show", "0/0"), {"kafka_ca_file": stranger}, 4, "FLEETMETER_KAFKA_CA_FILE"),
        (("positions", "show"), {"kafka_password": "wrong"}, 4, "FLEETMETER_KAFKA_PASSWORD"),
        (("migrate",), {"clickhouse_ca_file": stranger}, 5, "FLEETMETER_CLICKHOUSE_CA_FILE"),
        (("reconcile",), {"clickhouse_ca_file": stranger}, 5, "FLEETMETER_CLICKHOUSE_CA_FILE"),
    ):
        code, _, err = secured.command(*command, **wrong)
        assert (code, said in err, "Traceback" in err) == (exit_code, True, False), err
