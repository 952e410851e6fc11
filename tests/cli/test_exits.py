"""Which exit code and sentence an error becomes."""

from __future__ import annotations

from pathlib import Path

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from confluent_kafka import KafkaError, KafkaException
from fleetmeter_jobs.cli.exits import CommandError, Exit, explain_failure
from fleetmeter_jobs.errors import CountingError, KafkaUnavailableError, SettingsError
from fleetmeter_jobs.ledger.errors import StoreUnavailableError
from fleetmeter_local import PrerequisiteError
from fleetmeter_producers.errors import TraceError


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (CommandError("no"), Exit.INPUT),
        (CommandError("no", Exit.KAFKA), Exit.KAFKA),
        (SettingsError("no"), Exit.INPUT),
        (TraceError("no"), Exit.INPUT),
        (KafkaUnavailableError("no"), Exit.KAFKA),
        (StoreUnavailableError("no"), Exit.CLICKHOUSE),
        (PrerequisiteError("no"), Exit.MISSING),
        (DatabaseError("no"), Exit.CLICKHOUSE),
    ],
)
def test_errors_that_people_can_act_on(error: Exception, exit_code: Exit) -> None:
    explained = explain_failure(error)
    assert explained is not None
    assert explained[0] is exit_code
    assert "no" in explained[1]


def test_kafkas_own_error_is_said_in_words() -> None:
    explained = explain_failure(KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN)))
    assert explained is not None
    assert explained[0] is Exit.KAFKA


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nothing.json"
    with pytest.raises(FileNotFoundError) as raised:
        path.read_bytes()
    assert explain_failure(raised.value) == (Exit.INPUT, f"{path}: no such file or directory.")


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("x"), CountingError("x"), ModuleNotFoundError("x", name="fleetmeter_jobs.nothing")]
)
def test_defects_are_not_explained_away(error: Exception) -> None:
    assert explain_failure(error) is None
