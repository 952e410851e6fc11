"""Engines in the foreground: they run until Ctrl-C or SIGTERM, and say so when they end by themselves."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from fleetmeter_local import EngineDiedError, RunningClickHouse, RunningKafka, foreground, run_clickhouse, run_kafka
from fleetmeter_local.probes import clickhouse_answers

pytestmark = pytest.mark.clickhouse


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_runs_until_a_signal_and_stops_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    seen: list[RunningClickHouse] = []
    before = signal.getsignal(number)

    def ready(running: RunningClickHouse) -> None:
        seen.append(running)
        assert clickhouse_answers(running.url)
        threading.Timer(0.1, os.kill, (os.getpid(), number)).start()

    run_clickhouse(tmp_path, ready)
    assert not seen[0].is_alive()
    assert signal.getsignal(number) == before
    assert seen[0].log_path is not None
    assert seen[0].log_path.read_text().endswith("stopped\n")


def test_an_end_of_its_own_is_an_error(tmp_path: Path) -> None:
    def ready(running: RunningClickHouse) -> None:
        assert running.pid is not None
        os.kill(running.pid, signal.SIGKILL)

    with pytest.raises(EngineDiedError, match="ended by itself") as caught:
        run_clickhouse(tmp_path, ready)
    assert str(tmp_path / "logs" / "clickhouse.log") in str(caught.value)
    assert caught.value.domain == "clickhouse"  # a sentence of the command, and no stack trace


def test_kafka_runs_in_the_foreground_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    def start(data_dir: Path, **options: object) -> RunningKafka:
        asked.update(options, data_dir=data_dir)
        return RunningKafka("127.0.0.1:1", "given")

    monkeypatch.setattr(foreground, "start_kafka", start)
    run_kafka(tmp_path, lambda _running: threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start(), port=1234)
    assert asked == {"data_dir": tmp_path, "port": 1234, "source": "local", "cache_dir": None}
