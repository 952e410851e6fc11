"""`fleetmeter spool`, as it is called."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fleetmeter_doubles.kafka_broker import FakeBroker
from fleetmeter_jobs.cli.exits import Exit
from fleetmeter_producers import ClientSettings, UsageClient
from fleetmeter_schemas import OutcomeV1


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """A spool with two events that a client left when it was closed without a broker."""
    broker = FakeBroker()
    broker.away = True
    settings = ClientSettings(spool_dir=tmp_path / "spool")
    client = UsageClient("unused:1", "urn:test:gone", settings=settings, connect=broker.connect)
    for _ in range(2):
        client.emit("acct", OutcomeV1(name="done", quantity=1))
    assert client.close(0).events == 2
    return tmp_path / "spool"


def test_inspect(spool: Path, fleetmeter: Callable[..., object]) -> None:
    shown = fleetmeter("spool", "inspect", str(spool))
    assert (shown.code, "urn:test:gone" in shown.out) == (0, True)  # type: ignore[attr-defined]
    assert "2 events were left by processes that ended" in shown.out  # type: ignore[attr-defined]
    [report] = fleetmeter("spool", "inspect", str(spool), "--json").json  # type: ignore[attr-defined]
    assert (report["source"], report["events"], report["homes"][0]["alive"]) == ("urn:test:gone", 2, False)


def test_drain_says_what_is_left(spool: Path, fleetmeter: Callable[..., object]) -> None:
    ran = fleetmeter(
        "spool", "drain", str(spool), "--timeout", "0.2", "--json", "--setting", "kafka_bootstrap=127.0.0.1:1"
    )
    assert ran.code == Exit.NO  # type: ignore[attr-defined]
    assert [(each["sent"], each["left"]) for each in ran.json] == [(0, 2)]  # type: ignore[attr-defined]


def test_a_wrong_path_is_an_error_in_words(tmp_path: Path, fleetmeter: Callable[..., object]) -> None:
    ran = fleetmeter("spool", "inspect", str(tmp_path / "nowhere"))
    assert ran.code == Exit.INPUT  # type: ignore[attr-defined]
    assert "there is no folder" in ran.err  # type: ignore[attr-defined]
