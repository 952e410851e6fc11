"""`fleetmeter ingest` without a Kafka: its tokens, and what it refuses before it begins."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fleetmeter_doubles.new_topics import create_topic
from fleetmeter_jobs.cli import kafka as kafka_commands
from fleetmeter_jobs.cli.exits import CommandError
from fleetmeter_jobs.cli.ingest import judges_of, limits_of, refuse_too_large
from fleetmeter_jobs.cli.kafka import largest_message_bytes
from fleetmeter_jobs.cli.native_judge import NativeJudge
from fleetmeter_jobs.settings import Settings
from fleetmeter_local import RunningKafka
from fleetmeter_producers.ingest.judging import PlainJudge

Call = Callable[..., Any]


@pytest.fixture
def call(fleetmeter: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    """`call("token", "list", ...)` runs `fleetmeter ingest token list ...` in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: fleetmeter("ingest", *arguments)


def test_a_token_is_made_listed_and_revoked(call: Call) -> None:
    scope = ("--account", "acme", "--account", "acme-*", "--source", "urn:acme:*", "--tokens", "t.json")
    ran = call("token", "new", "Acme's gateway", *scope, "--days", "3")
    assert ran.code == 0
    _, identifier, secret = ran.out.strip().split("_", 2)
    assert len(secret) >= 43
    assert identifier in ran.err
    made = call("token", "new", "b", *scope, "--events-per-s", "5", "--json").json
    assert made["token"].startswith(f"fm_{made['id']}_")
    assert call("token", "revoke", identifier, "--tokens", "t.json").code == 0
    rows = call("token", "list", "--tokens", "t.json", "--json").json["tokens"]
    assert [(row["name"], row["state"], row["events_per_s"]) for row in rows] == [
        ("Acme's gateway", "revoked", None),
        ("b", "live", 5.0),
    ]
    assert rows[0]["accounts"] == ["acme", "acme-*"]
    assert all("sha256" not in row and "token" not in row for row in rows)
    assert "acme, acme-*" in call("token", "list", "--tokens", "t.json").out
    ran = call("token", "revoke", "ffff", "--tokens", "t.json")
    assert (ran.code, "token list" in ran.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "ingest token new"),
        (["--tokens", "nowhere.json"], "nowhere.json"),
        (["--open", "--host", "0.0.0.0"], "--tokens"),  # noqa: S104  (that is what it refuses)
        (["--open", "--tokens", "t.json"], "one of the two"),
        (["--open", "--tls-key", "key.pem"], "--tls-certificate"),
        (["--open", "--tls-certificate", "nowhere.pem"], "nowhere.pem"),
        (["--open", "-l", "body_limit_bytes"], "NAME=VALUE"),
        (["--open", "-l", "body_limit=3"], "body_limit"),
        (["--open", "-l", "threads=none"], "threads"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_starts(call: Call, arguments: list[str], words: str) -> None:
    ran = call(*arguments)
    assert ran.code == 2
    assert words in ran.err


def test_a_topic_that_takes_less_than_we_send_is_refused() -> None:
    refuse_too_large("t", 1_048_588, 1_000_000)
    refuse_too_large("t", None, 9_000_000)
    with pytest.raises(CommandError, match=r"Topic t takes at most 1,048,588 bytes.*max\.message\.bytes=4259840"):
        refuse_too_large("t", 1_048_588, 4_259_840)


@pytest.mark.kafka
def test_what_a_topic_takes_is_asked_of_kafka(kafka: RunningKafka) -> None:
    topic = f"t-{uuid.uuid4().hex[:8]}"
    create_topic(kafka.bootstrap, topic, 1, {"max.message.bytes": "500000"})
    assert largest_message_bytes(Settings(kafka_bootstrap=kafka.bootstrap, topic=topic)) == 500_000


def test_a_file_of_tokens_that_anybody_may_write_is_refused(fleetmeter: Call, tmp_path: Path) -> None:
    tokens = tmp_path / "t.json"
    made = fleetmeter("ingest", "token", "new", "a", "--account", "a", "--source", "s", "--tokens", str(tokens))
    assert made.code == 0
    tokens.chmod(0o666)
    for command in (("ingest",), ("entitlements", "serve")):
        ran = fleetmeter(*command, "--tokens", str(tokens))
        assert (ran.code, f"chmod o-w {tokens}" in ran.err) == (2, True)


def test_without_a_kafka_it_says_so(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_commands, "TIMEOUT_S", 0.5)
    ran = call("--open", "-s", "kafka_bootstrap=127.0.0.1:1")
    assert ran.code == 4
    assert "127.0.0.1:1" in ran.err


def test_the_document_is_printed(call: Call) -> None:
    assert call("openapi").json["openapi"].startswith("3.1")


def test_events_are_limited_as_the_workers_limit_them() -> None:
    settings = Settings.load(event_limit_bytes=5_000)
    limits = limits_of(["threads=3", "events_per_s=2.5"], settings)
    assert (limits.event_limit_bytes, limits.threads, limits.events_per_s) == (5_000, 3, 2.5)


def test_an_install_without_the_core_judges_slowly_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings.load()
    assert isinstance(judges_of(settings)(), NativeJudge)
    monkeypatch.delitem(sys.modules, "fleetmeter_jobs.cli.native_judge")
    monkeypatch.setitem(sys.modules, "fleetmeter_native", None)
    assert isinstance(judges_of(settings)(), PlainJudge)
    assert "pydantic" in capsys.readouterr().err
