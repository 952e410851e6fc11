"""Which exit code and sentence an error becomes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from confluent_kafka import KafkaError, KafkaException
from fleetmeter_jobs.cli.exits import CommandError, Exit, explain_failure
from fleetmeter_jobs.errors import CountingError, KafkaUnavailableError, SettingsError
from fleetmeter_jobs.ledger.errors import StoreRejectedError, StoreUnavailableError
from fleetmeter_local import PrerequisiteError
from fleetmeter_producers.errors import TraceError
from urllib3.exceptions import ProtocolError


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


def test_what_clickhouse_refuses_the_ledger_is_said_with_what_to_do() -> None:
    said = "Code: 60. DB::Exception: Unknown table expression identifier 'ledger'. (UNKNOWN_TABLE) (version 25.12.1)"
    told = (
        "ClickHouse at http://c:8123 refuses: Unknown table expression identifier 'ledger' (UNKNOWN_TABLE). The tables "
        "are not those of this version: run `fleetmeter migrate`."
    )
    error = StoreRejectedError(f"ClickHouse at http://c:8123 refuses (60 unknown table): {said}", 60)
    assert explain_failure(error) == (Exit.CLICKHOUSE, told)
    stranger = StoreRejectedError("http://c answers HTTP 404: no; is that ClickHouse's address?", 0)
    assert explain_failure(stranger) == (Exit.CLICKHOUSE, str(stranger))


def test_a_store_that_breaks_off_in_the_middle_is_no_defect() -> None:
    told = (
        "ClickHouse does not answer: the connection broke. Start one with `fleetmeter up`, or set "
        "FLEETMETER_CLICKHOUSE_URL."
    )
    assert explain_failure(ProtocolError("Connection broken")) == (Exit.CLICKHOUSE, told)


def test_nothing_but_one_sentence_is_printed_when_clickhouse_is_away(fleetmeter: Callable[..., Any]) -> None:
    ran = fleetmeter("usage", "-s", "clickhouse_url=http://127.0.0.1:1")
    told = (
        "fleetmeter: ClickHouse at http://127.0.0.1:1 does not answer: connection refused. Start one with "
        "`fleetmeter up`, or set FLEETMETER_CLICKHOUSE_URL.\n"
    )
    assert (ran.code, ran.out, ran.err) == (5, "", told)


def test_kafkas_own_error_is_said_in_words() -> None:
    explained = explain_failure(KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN)))
    assert explained is not None
    assert explained[0] is Exit.KAFKA


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError) as raised:
        (tmp_path / "file").mkdir()
    assert explain_failure(raised.value) == (Exit.INPUT, f"{tmp_path / 'file'}: file exists.")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nothing.json"
    with pytest.raises(FileNotFoundError) as raised:
        path.read_bytes()
    assert explain_failure(raised.value) == (Exit.INPUT, f"{path}: no such file or directory.")


@pytest.mark.parametrize("as_json", [False, True])
def test_a_full_disk_is_told(as_json: bool) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no full disk to try")
    command = [sys.executable, "-m", "fleetmeter_jobs.cli", "rates", "example", "hybrid", *["--json"] * as_json]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, "Can't write: no space left on device." in done.stderr) == (2, True)
    assert len(done.stderr.splitlines()) == 1


def test_a_reader_that_has_seen_enough_is_no_trouble() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "fleetmeter_jobs.cli", "rates", "example", "hybrid"]
    with os.fdopen(write, "wb") as closed:
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("usage", "--nope", "--json"), "No such option: --nope"),
        (("nope", "--json"), "No such command 'nope'"),
        (("close", "--json"), "Missing option '--period'"),
        (("schema", "--json", "show"), "No such option: --json"),
    ],
)
def test_machines_get_one_document_about_a_wrong_option(
    fleetmeter: Callable[..., Any], arguments: tuple[str, ...], said: str
) -> None:
    ran = fleetmeter(*arguments)
    error = json.loads(ran.err)["error"]
    assert (ran.code, ran.out, error["kind"]) == (2, "", "input")
    assert error["message"].startswith(said)


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("x"), CountingError("x"), ModuleNotFoundError("x", name="fleetmeter_jobs.nothing")]
)
def test_defects_are_not_explained_away(error: Exception) -> None:
    assert explain_failure(error) is None
