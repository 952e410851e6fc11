"""Settings: where they come from, and that a wrong one never passes unnoticed."""

from __future__ import annotations

import os

import pytest
from fleetmeter_jobs.errors import SettingsError
from fleetmeter_jobs.settings import Settings
from pydantic import ValidationError


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith("FLEETMETER_"):
            monkeypatch.delenv(name)


def test_options_come_before_the_environment_and_the_environment_before_defaults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLEETMETER_TOPIC", "from.environment")
    monkeypatch.setenv("FLEETMETER_FLUSH_EVENTS", "77")
    settings = Settings.load(topic="from.option")
    assert (settings.topic, settings.flush_events, settings.topic_partitions) == ("from.option", 77, 4)
    assert settings.model_fields_set == {"topic", "flush_events"}


def test_an_unknown_variable_is_an_error_with_the_nearest_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETMETER_CLICKHOUSE_URI", "http://x:1")
    monkeypatch.setenv("FLEETMETER_ZZZ", "1")
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    first, second = str(caught.value).splitlines()
    assert first == "unknown environment variable FLEETMETER_CLICKHOUSE_URI; did you mean FLEETMETER_CLICKHOUSE_URL?"
    assert "FLEETMETER_ZZZ" in second
    assert "fleetmeter config" in second


def test_what_kubernetes_makes_of_a_service_is_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """`helm install fleetmeter kafka` makes a Service fleetmeter-kafka, and so these, in each pod of the namespace."""
    made = {
        "SERVICE_HOST": "10.0.171.239",
        "SERVICE_PORT": "9092",
        "SERVICE_PORT_TCP_CLIENT": "9092",
        "PORT": "tcp://10.0.171.239:9092",
        "PORT_9092_TCP": "tcp://10.0.171.239:9092",
        "PORT_9092_TCP_PROTO": "tcp",
        "PORT_9092_TCP_PORT": "9092",
        "PORT_9092_TCP_ADDR": "10.0.171.239",
    }
    for name, value in made.items():
        monkeypatch.setenv(f"FLEETMETER_KAFKA_{name}", value)
    assert not Settings.load().model_fields_set
    monkeypatch.setenv("FLEETMETER_KAFKA_PORT", "9092")
    with pytest.raises(SettingsError, match=r"^unknown environment variable FLEETMETER_KAFKA_PORT"):
        Settings.load()


def test_a_producer_s_variable_is_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETMETER_SPOOL_DIR", "/var/lib/fleetmeter/spool")
    assert "spool_dir" not in Settings.load().model_fields_set


def test_an_unknown_option_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(SettingsError, match="unknown setting 'flush_event'; did you mean flush_events"):
        Settings.load(flush_event=1)


def test_all_problems_are_told_at_once_by_the_name_that_was_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETMETER_FLUSH_EVENTS", "many")
    with pytest.raises(SettingsError) as caught:
        Settings.load(topic="no spaces", clickhouse_url="localhost:8123")
    lines = sorted(str(caught.value).splitlines())
    assert [line.split(":")[0] for line in lines] == ["FLEETMETER_FLUSH_EVENTS", "clickhouse_url", "topic"]
    assert "given: 'many'" in lines[0]


@pytest.mark.parametrize(
    "options",
    [
        {"kafka_bootstrap": "localhost"},
        {"kafka_bootstrap": "a:9092,b:99999"},
        {"clickhouse_url": "http://user:secret@host:8123"},
        {"clickhouse_url": "tcp://host:9000"},
        {"clickhouse_database": "a-b"},
        {"topic": ".."},
        {"label_keys": "team,team"},
        {"label_keys": "x" * 65},
        {"flush_interval_s": 0},
        {"web_port": 65_536},
        {"record_limit_bytes": 2048, "event_limit_bytes": 4096},
        {"retry_wait_s": 2, "retry_wait_limit_s": 1},
        {"rebalance_limit_s": 30, "session_timeout_s": 30},
        {"heartbeat_interval_s": 4, "session_timeout_s": 10},
        {"group_instance": "a b"},
        {"log_level": "LOUD"},
    ],
    ids=" ".join,
)
def test_bad_values_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        Settings.load(**options)


def test_a_password_stays_out_of_sight() -> None:
    assert "hunter2" not in repr(Settings.load(clickhouse_password="hunter2"))
    with pytest.raises(SettingsError) as caught:
        Settings.load(clickhouse_password=["hunter2"])
    assert "hunter2" not in str(caught.value)


def test_lists_come_as_commas_and_empty_variables_are_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETMETER_LABEL_KEYS", "team, app ,")
    monkeypatch.setenv("FLEETMETER_TOPIC", "")
    settings = Settings.load()
    assert settings.label_keys == ("team", "app")
    assert settings.topic == "fleetmeter.usage"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings.load().topic = "other"  # type: ignore[misc]
