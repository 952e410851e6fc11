"""Given address, container or local process: the order, and what is said when a choice cannot be had."""

from __future__ import annotations

import importlib
import importlib.util
import types
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fleetmeter_local import (
    ClickHouseUser,
    EngineStartError,
    EngineUnreachableError,
    PrerequisiteError,
    RunningClickHouse,
    RunningKafka,
    choice,
    docker,
    start_clickhouse,
    start_kafka,
)
from fleetmeter_local.probes import clickhouse_answers, kafka_answers


@pytest.fixture(autouse=True)
def _nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLEETMETER_KAFKA_BOOTSTRAP", raising=False)
    monkeypatch.delenv("FLEETMETER_CLICKHOUSE_URL", raising=False)


@pytest.mark.kafka
def test_a_given_broker_is_used_and_left_alone(
    kafka: RunningKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEETMETER_KAFKA_BOOTSTRAP", kafka.bootstrap)
    with start_kafka(tmp_path) as given:
        assert (given.bootstrap, given.source, given.pid, given.log_path) == (kafka.bootstrap, "given", None, None)
        assert given.is_alive()
        for act in (given.kill, given.restart):
            with pytest.raises(RuntimeError, match="not ours"):
                act()
    assert kafka.is_alive()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.clickhouse
def test_credentials_of_a_given_clickhouse_may_stand_apart(
    clickhouse: RunningClickHouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLEETMETER_CLICKHOUSE_URL", clickhouse.url)
    monkeypatch.setenv("FLEETMETER_CLICKHOUSE_USER", "ann")
    monkeypatch.setenv("FLEETMETER_CLICKHOUSE_PASSWORD", "s@cret")
    running = start_clickhouse(tmp_path)
    assert (running.source, running.user, running.password) == ("given", "ann", "s@cret")


@pytest.mark.clickhouse
def test_a_given_clickhouse_is_used(
    clickhouse: RunningClickHouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEETMETER_CLICKHOUSE_URL", f"http://ann:s%40cret@{clickhouse.host}:{clickhouse.port}/")
    given = start_clickhouse(tmp_path)
    assert (given.url, given.source, given.user, given.password) == (clickhouse.url, "given", "ann", "s@cret")


@pytest.mark.parametrize(
    ("url", "port", "scheme"),
    [("http://db", 8123, "http"), ("https://db", 8443, "https"), ("https://db:9", 9, "https")],
)
def test_a_given_url_has_the_usual_ports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, port: int, scheme: str
) -> None:
    monkeypatch.setenv("FLEETMETER_CLICKHOUSE_URL", url)
    asked: list[str] = []

    def answers(at: str, *, timeout_s: float) -> bool:
        asked.append(at)
        return timeout_s > 0

    monkeypatch.setattr(choice, "clickhouse_answers", answers)
    given = start_clickhouse(tmp_path)
    assert (given.port, given.user, given.secure) == (port, "default", scheme == "https")
    assert asked == [f"{scheme}://db:{port}"]


def test_a_given_address_where_nobody_answers_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETMETER_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    with pytest.raises(EngineUnreachableError, match=r"127\.0\.0\.1:1 .*FLEETMETER_KAFKA_BOOTSTRAP") as caught:
        start_kafka(tmp_path)
    assert (caught.value.domain, caught.value.retryable) == ("kafka", True)
    monkeypatch.setenv("FLEETMETER_CLICKHOUSE_URL", "http://127.0.0.1:1")
    with pytest.raises(EngineUnreachableError, match="FLEETMETER_CLICKHOUSE_URL"):
        start_clickhouse(tmp_path)


@pytest.mark.parametrize("url", ["localhost:8123", "clickhouse://x", "http://"])
def test_a_given_url_has_to_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("FLEETMETER_CLICKHOUSE_URL", url)
    with pytest.raises(PrerequisiteError, match="http://user:password@host:8123"):
        start_clickhouse(tmp_path)


def test_asking_for_a_given_address_without_one_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PrerequisiteError, match="FLEETMETER_KAFKA_BOOTSTRAP is not set"):
        start_kafka(tmp_path, source="given")
    with pytest.raises(PrerequisiteError, match="FLEETMETER_CLICKHOUSE_URL is not set"):
        start_clickhouse(tmp_path, source="given")


@pytest.mark.parametrize(
    ("missing", "detached", "chosen"),
    [(None, False, "docker"), (None, True, "local"), ("no daemon", False, "local"), ("no daemon", True, "local")],
)
def test_docker_comes_before_local_unless_it_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str | None, detached: bool, chosen: str
) -> None:
    monkeypatch.setattr(choice, "docker_missing", lambda: missing)
    started: list[str] = []
    for name, kind in (
        ("start_kafka_container", "docker"),
        ("start_clickhouse_container", "docker"),
        ("start_broker", "local"),
        ("start_embedded", "local"),
    ):
        monkeypatch.setattr(choice, name, lambda *_args, kind=kind, **_options: started.append(kind))
    start_kafka(tmp_path, detached=detached)
    start_clickhouse(tmp_path, detached=detached)
    assert started == [chosen, chosen]


class FakeContainer:
    """As much of testcontainers' and docker's containers as is used, in memory."""

    made: ClassVar[list[FakeContainer]] = []

    def __init__(self, image: str) -> None:
        self.image = image
        self.environment: dict[str, str] = {}
        self.options: dict[str, Any] = {}
        self.calls: list[str] = []
        self.status = "created"
        FakeContainer.made.append(self)

    def with_env(self, key: str, value: str) -> None:
        self.environment[key] = value

    def with_kwargs(self, **options: Any) -> None:
        self.options.update(options)

    def get_wrapped_container(self) -> FakeContainer | None:
        return None if self.status == "created" else self

    def start(self) -> None:
        self.calls.append("start")
        self.status = "running"

    def stop(self, timeout: int | None = None) -> None:
        self.calls.append(f"stop {timeout}")
        self.status = "exited"

    def kill(self) -> None:
        self.calls.append("kill")
        self.status = "exited"

    def reload(self) -> None:
        self.calls.append("reload")

    def logs(self, tail: int) -> bytes:
        return f"last {tail} lines".encode()


@pytest.fixture
def containers(monkeypatch: pytest.MonkeyPatch) -> list[FakeContainer]:
    FakeContainer.made = []
    monkeypatch.setattr(docker, "docker_missing", lambda: None)
    real = importlib.import_module
    fake = types.SimpleNamespace(DockerContainer=FakeContainer)
    monkeypatch.setattr(
        importlib, "import_module", lambda name: fake if name == "testcontainers.core.container" else real(name)
    )
    return FakeContainer.made


def test_a_kafka_container_has_the_local_brokers_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, containers: list[FakeContainer]
) -> None:
    asked: list[str] = []
    answers = iter([False, True, True])

    def answer(bootstrap: str) -> bool:
        asked.append(bootstrap)
        return next(answers)

    monkeypatch.setattr(docker, "kafka_answers", answer)
    running = start_kafka(tmp_path, port=1234, source="docker")
    (container,) = containers
    assert (running.bootstrap, running.source, running.pid) == ("127.0.0.1:1234", "docker", None)
    assert asked == ["127.0.0.1:1234"] * 2
    assert container.image.startswith("apache/kafka:")
    assert container.options["ports"] == {"9092/tcp": ("127.0.0.1", 1234)}
    assert container.environment["KAFKA_ADVERTISED_LISTENERS"] == "PLAINTEXT://127.0.0.1:1234"
    assert container.environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert running.is_alive()
    running.kill()
    assert not running.is_alive()
    running.restart()
    running.stop(7)
    assert [call for call in container.calls if call != "reload"] == ["start", "kill", "start", "stop 7", "stop None"]


def test_a_clickhouse_container_gets_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, containers: list[FakeContainer]
) -> None:
    monkeypatch.setattr(docker, "clickhouse_answers", lambda _url: True)
    sent: list[str] = []
    monkeypatch.setattr(docker, "_run", lambda _url, _user, statement: sent.append(statement))
    users = [ClickHouseUser("default"), ClickHouseUser("re`ader", "it's", readonly=True), ClickHouseUser("w")]
    running = start_clickhouse(tmp_path, port=1234, users=users, source="docker")
    assert (running.url, running.user, running.source) == ("http://127.0.0.1:1234", "default", "docker")
    (container,) = containers
    assert container.image.startswith("clickhouse/clickhouse-server:")
    assert container.environment["CLICKHOUSE_SKIP_USER_SETUP"] == "1"
    assert sent == [
        "CREATE USER IF NOT EXISTS `re\\`ader` IDENTIFIED WITH sha256_password BY 'it\\'s' SETTINGS readonly = 1",
        "GRANT SELECT, SHOW ON *.* TO `re\\`ader`",
        "CREATE USER IF NOT EXISTS `w` NOT IDENTIFIED",
        "GRANT ALL ON *.* TO `w`",
    ]


def test_a_container_that_does_not_answer_is_taken_away_and_its_log_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, containers: list[FakeContainer]
) -> None:
    monkeypatch.setattr(docker, "kafka_answers", lambda _bootstrap: False)
    with pytest.raises(EngineStartError, match="last 20 lines"):
        start_kafka(tmp_path, source="docker", timeout_s=0.05)
    assert containers[0].status == "exited"


def test_a_container_that_was_never_started_is_not_alive() -> None:
    lifecycle = docker.ContainerLifecycle("kafka", FakeContainer("x"), lambda: True, 1)
    assert not lifecycle.is_alive()
    lifecycle.stop(1)


@pytest.mark.clickhouse
def test_statements_are_sent_with_credentials(clickhouse: RunningClickHouse, database: str) -> None:
    user = ClickHouseUser(clickhouse.user, clickhouse.password)
    docker._run(clickhouse.url, user, f"CREATE TABLE {database}.t (a Int8) ENGINE = Memory")
    docker._run(clickhouse.url, user, f"DROP TABLE {database}.t")


def test_what_keeps_containers_away_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    missing = docker.docker_missing()
    assert missing is not None
    assert "no Docker daemon answers" in missing
    with pytest.raises(PrerequisiteError, match="Containers cannot be used"):
        start_kafka(tmp_path, source="docker")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert docker.docker_missing() == "the Python package docker is not installed"


@pytest.mark.docker
@pytest.mark.kafka
@pytest.mark.clickhouse
def test_real_containers(tmp_path: Path) -> None:
    if (reason := docker.docker_missing()) is not None:
        pytest.skip(f"no containers here: {reason}")
    with start_kafka(tmp_path, source="docker") as kafka, start_clickhouse(tmp_path, source="docker") as clickhouse:
        assert kafka_answers(kafka.bootstrap)
        assert clickhouse_answers(clickhouse.url)
        kafka.kill()
        kafka.restart()
        assert kafka_answers(kafka.bootstrap)


@pytest.mark.docker
@pytest.mark.clickhouse
def test_a_real_docker_daemon_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon's answer, from a stand-in for the client: the real one is asked where there is one."""

    class Client:
        closed = False

        def ping(self) -> bool:
            return True

        def close(self) -> None:
            Client.closed = True

    sdk = types.SimpleNamespace(
        from_env=lambda **_options: Client(), errors=types.SimpleNamespace(DockerException=RuntimeError)
    )
    monkeypatch.setattr(importlib, "import_module", lambda _name: sdk)
    assert docker.docker_missing() is None
    assert Client.closed
