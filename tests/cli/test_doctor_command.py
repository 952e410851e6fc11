"""`fleetmeter doctor`: what fails, what is not needed, and how each thing is got."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from fleetmeter_jobs.cli import doctor
from fleetmeter_local import Prerequisite
from fleetmeter_local.prerequisites import check_chdb


def found(name: str, needed_for: str, *, ok: bool) -> Prerequisite:
    return Prerequisite(name, ok=ok, found="x", how_to_get=f"Install {name}.", needed_for=needed_for)


def _raise(error: Exception) -> NoReturn:
    raise error


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A machine with or without Docker and Java."""

    def pretend(*, docker: bool, java: bool) -> None:
        engines = [found("java", "local Kafka", ok=java), found("chdb", "embedded ClickHouse", ok=True)]
        monkeypatch.setattr(doctor, "check_docker", lambda: found("docker", "containers", ok=docker))
        monkeypatch.setattr(doctor, "check_prerequisites", lambda: engines)
        monkeypatch.setattr(doctor, "check_native", lambda: found("native core", "workers", ok=True))

    return pretend


def test_all_is_there(machine: Callable[..., None], fleetmeter: Callable[..., Any]) -> None:
    machine(docker=False, java=True)
    ended = fleetmeter("doctor")
    assert ended.code == 0
    assert "Everything is there" in ended.out


def test_what_is_missing_is_named_with_how_to_get_it(
    machine: Callable[..., None], fleetmeter: Callable[..., Any]
) -> None:
    machine(docker=False, java=False)
    ended = fleetmeter("doctor")
    assert ended.code == 1
    assert "Install java." in ended.out
    assert "Install docker." not in ended.out
    as_json = fleetmeter("doctor", "--json")
    assert as_json.code == 1
    assert as_json.json["ok"] is False


def test_a_hint_is_printed_to_the_letter(
    machine: Callable[..., None], fleetmeter: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`[local]` looks like markup, and would be left out: the hint would name a package without what is missing."""
    machine(docker=False, java=True)
    monkeypatch.setattr("importlib.metadata.version", lambda _name: _raise(PackageNotFoundError()))
    monkeypatch.setattr(doctor, "check_prerequisites", lambda: [check_chdb()])
    ended = fleetmeter("doctor")
    assert ended.code == 1
    assert "`pip install 'fleetmeter[local]'`" in ended.out


@pytest.mark.parametrize("docker", [True, False])
def test_a_given_broker_or_docker_save_java(
    docker: bool, machine: Callable[..., None], fleetmeter: Callable[..., Any]
) -> None:
    machine(docker=docker, java=False)
    arguments = () if docker else ("-s", "kafka_bootstrap=kafka:9092")
    assert fleetmeter("doctor", *arguments).code == 0


def test_a_password_in_the_clear_is_mentioned_and_an_unreadable_file_is_wrong_input(
    machine: Callable[..., None], fleetmeter: Callable[..., Any]
) -> None:
    machine(docker=True, java=True)
    login = ("-s", "kafka_security_protocol=SASL_PLAINTEXT", "-s", "kafka_user=m", "-s", "kafka_password=hunter2")
    ended = fleetmeter("doctor", "--json", "-s", "kafka_bootstrap=kafka-1:9092", *login)
    assert ended.code == 0
    assert "FLEETMETER_KAFKA_SECURITY_PROTOCOL=SASL_SSL" in ended.json["cautions"][0]
    assert "careful" in fleetmeter("doctor", "-s", "kafka_bootstrap=kafka-1:9092", *login).out
    refused = fleetmeter("doctor", "-s", "kafka_security_protocol=SSL", "-s", "kafka_ca_file=/nowhere.pem")
    assert refused.code == 2
    assert "kafka_ca_file: /nowhere.pem can't be read" in refused.err
    assert "hunter2" not in ended.out + ended.err + refused.err


def test_this_machine_is_looked_at(tmp_path: Any) -> None:
    assert doctor.check_python().ok
    assert doctor.check_disk(tmp_path).found.endswith("GiB")
    assert doctor.check_docker().found


def test_the_disk_is_that_of_the_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Which may be full, or have room, where the root's is not."""
    asked: list[Path] = []

    def disk_usage(path: Path) -> SimpleNamespace:
        asked.append(path)
        return SimpleNamespace(free=0)

    monkeypatch.setattr("shutil.disk_usage", disk_usage)
    assert not doctor.check_disk(tmp_path / "not" / "made").ok
    assert asked == [tmp_path]
