"""`fleetmeter accounts`, `close` and `closes`, called in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from fleetmeter_billing.examples import example_text
from fleetmeter_billing.rates.loading import parse_card
from fleetmeter_billing.rates.store import Publisher, publish
from fleetmeter_doubles.billing_store import new_store
from fleetmeter_doubles.counted_usage import CountedUsage
from fleetmeter_jobs.cli import kafka
from fleetmeter_jobs.cli.app import run
from fleetmeter_local import RunningClickHouse

pytestmark = pytest.mark.clickhouse

ACCOUNTS = """
accounts:
  - account: acme
    name: Acme GmbH
    currency: EUR
    time_zone: Europe/Berlin
    subscription:
      - {from: 2026-11-01, card: hybrid}
      - {from: 2026-11-16, status: cancelled}
"""
Call = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def counted(clickhouse: RunningClickHouse) -> Iterator[CountedUsage]:
    with new_store(clickhouse) as store:
        publish(store.client, parse_card(example_text("hybrid")), Publisher("test"), backdated=True)
        store.usage("acme", "2026-11-05 10:00:00", output_tokens=10)
        store.usage("stranger", "2026-11-05 10:00:00", output_tokens=20)
        store.marker("2026-11-30 23:00:00")
        yield store


@pytest.fixture(scope="module")
def kafka_with_one_partition_more() -> Iterator[str]:
    """The address of a broker with topic `t`, whose last partition of four has a record; nobody has counted it."""
    producer = Producer({"test.mock.num.brokers": 1})  # whose broker it is: it lives as long
    producer.produce("t", b"{}", partition=3)
    assert producer.flush(30) == 0
    (broker,) = producer.list_topics(timeout=30).brokers.values()
    yield f"{broker.host}:{broker.port}"
    producer.flush(0)


@pytest.fixture
def call(
    counted: CountedUsage,
    clickhouse: RunningClickHouse,
    kafka_with_one_partition_more: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Call:
    """`call(command...)`: exit code, and what it printed as JSON."""
    settings = {
        "clickhouse_url": clickhouse.url,
        "clickhouse_user": clickhouse.user,
        "clickhouse_password": clickhouse.password,
        "clickhouse_database": counted.client.database,
    }
    monkeypatch.setenv("FLEETMETER_KAFKA_BOOTSTRAP", kafka_with_one_partition_more)
    options = [part for name, value in settings.items() for part in ("-s", f"{name}={value}")]

    def run_command(*arguments: str) -> tuple[int, Any]:
        with pytest.raises(SystemExit) as ended:
            run([*arguments, "--json", "--data-dir", str(tmp_path), *options])
        printed = capsys.readouterr()
        code = ended.value.code
        return int(code or 0), json.loads(printed.out or printed.err)

    return run_command


def test_from_a_file_of_accounts_to_a_closed_period(
    call: Call, counted: CountedUsage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "TIMEOUT_S", 1.0)
    monkeypatch.setattr(kafka, "REFUSAL_S", 0.3)
    file = tmp_path / "accounts.yaml"
    file.write_text(ACCOUNTS)
    file.write_text(ACCOUNTS.replace("card: hybrid", "card: hybrd"))
    remarks = [row["remark"] for row in call("accounts", "apply", "--dry-run", str(file))[1]]
    assert [remark and "rate card 'hybrd' has no version" in remark for remark in remarks] == [None, True, None]
    file.write_text(ACCOUNTS.replace("card: hybrid", "card: hybrid, committed: {seat: 5}"))
    remarks = [row["remark"] for row in call("accounts", "apply", "--dry-run", str(file))[1]]
    assert [remark and "nothing for committed 'seat'" in remark for remark in remarks] == [None, True, None]
    file.write_text(ACCOUNTS)
    assert [(row["change"], row["remark"]) for row in call("accounts", "apply", str(file))[1]] == [("new", None)] * 3
    assert {row["change"] for row in call("accounts", "apply", str(file))[1]} == {"unchanged"}
    file.write_text(ACCOUNTS.replace("Acme GmbH", "Acme SE"))
    code, refused = call("accounts", "apply", str(file))
    assert (code, "say --revise" in refused["error"]["message"]) == (2, True)
    assert call("accounts", "apply", str(file), "--revise")[0] == 0
    assert call("accounts", "list")[1][0]["name"] == "Acme SE"
    parts = call("accounts", "show", "acme", "--period", "2026-11")[1]["parts"]
    assert [(one["days"], one["segment"] and one["segment"]["card"]) for one in parts] == [(15, "hybrid"), (15, None)]
    code, answer = call("close", "--period", "2026-11", "--without-kafka")
    assert (code, answer["closed"]) == (1, False)
    assert "t/0 has come to 2026-11-30 23:00:00 and lacks 1 day" in answer["reason"]
    counted.marker("2026-12-02 00:00:00")
    code, answer = call("close", "--period", "2026-11")
    assert (code, answer["closed"]) == (1, False)
    assert "Kafka has records in t/3, which no worker ever took" in answer["reason"]
    code, answer = call("close", "--period", "2026-11", "-s", "kafka_bootstrap=127.0.0.1:1")
    assert code == 4, "Kafka does not answer"
    assert "Nothing was closed" in answer["error"]["message"]
    assert "close with --without-kafka" in answer["error"]["message"]
    assert call("closes")[1] == []
    counted.marker("2026-12-02 00:00:00", partition=3)
    code, answer = call("close", "--period", "2026-11")
    assert (code, answer["closed"], answer["ours"], answer["accounts"]) == (0, True, True, 1)
    assert [(one["account"], one["output_tokens"]) for one in answer["unbilled"]] == [("stranger", 20)]
    assert call("close", "--period", "2026-11")[1]["ours"] is False
    code, listed = call("closes", "--verify")
    assert (code, [(one["period"], one["altered"]) for one in listed]) == (0, [("2026-11", [])])
    assert call("closes", "--unbilled", "2026-11")[1][0]["account"] == "stranger"
    counted.client.command(
        "DELETE FROM billing_frozen_usage WHERE account_id = 'acme'", settings={"lightweight_deletes_sync": 2}
    )
    code, listed = call("closes", "--verify")
    assert (code, listed[0]["altered"]) == (1, ["billing_frozen_usage"])
    assert call("close", "--period", "2026-13")[0] == 2
    assert call("closes", "--unbilled", "2026-12")[0] == 2
