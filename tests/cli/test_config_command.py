"""`fleetmeter config`: values, and where they come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fleetmeter_jobs.settings import Settings


def test_every_setting_is_printed_with_its_origin(
    fleetmeter: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEETMETER_FLUSH_INTERVAL_S", "0.25")
    printed = fleetmeter("config", "--json", "-s", "topic=usage.eu").json
    assert set(printed) == set(Settings.model_fields)
    assert printed["topic"]["value"] == "usage.eu"
    assert printed["topic"]["from"] == "option"
    assert printed["flush_interval_s"]["value"] == 0.25
    assert printed["flush_interval_s"]["from"] == "environment"
    assert printed["horizon_days"] == {
        "value": 35,
        "from": "default",
        "variable": "FLEETMETER_HORIZON_DAYS",
        "meaning": Settings.model_fields["horizon_days"].description,
    }


def test_a_password_is_never_printed(fleetmeter: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETMETER_CLICKHOUSE_PASSWORD", "hunter2")
    for arguments in (("config",), ("config", "--json")):
        ended = fleetmeter(*arguments)
        assert ended.code == 0
        assert "hunter2" not in ended.out + ended.err


def test_an_option_wins_over_the_environment(fleetmeter: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETMETER_TOPIC", "from.environment")
    printed = fleetmeter("config", "--json", "-s", "topic=from.option").json["topic"]
    assert (printed["value"], printed["from"]) == ("from.option", "option")


def test_a_setting_without_a_value_is_refused(fleetmeter: Callable[..., Any]) -> None:
    ended = fleetmeter("config", "-s", "topic")
    assert ended.code == 2
    assert "NAME=VALUE" in ended.err
