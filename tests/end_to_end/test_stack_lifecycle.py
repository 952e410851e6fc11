"""`up`, `status`, `down`, and what is left when their processes are killed."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from stack_under_test import Commands, alive, running_stack, wait_until

ROOT = Path(__file__).resolve().parents[2]


def test_a_detached_stack_is_found_by_every_command_and_stopped_whole(tmp_path: Path) -> None:
    with running_stack(tmp_path / "data", workers=1, clickhouse_database="meter") as fleetmeter:
        parts = fleetmeter.parts()
        assert list(parts) == ["supervisor", "kafka", "clickhouse", "worker-1"]
        assert all(part["ok"] for part in parts.values())
        with urllib.request.urlopen(f"{parts['worker-1']['address']}/health/ready") as answer:  # noqa: S310
            assert answer.status == 200

        second = fleetmeter.run("up", "--detach")
        assert second.code == 2
        assert "already runs" in second.err
        assert fleetmeter("migrate") == {"database": "meter", "applied": [], "version": len(migrations())}

        # The stack's own settings are found through its state file, not through the environment.
        elsewhere = Commands(fleetmeter.data_dir)
        database = elsewhere("config")["clickhouse_database"]
        assert (database["value"], database["from"]) == ("meter", "running stack")

        emit_the_readme_example(elsewhere("config")["kafka_bootstrap"]["value"], tmp_path)
        report = elsewhere("reconcile", "--wait", "60")
        assert (report["accepted"], report["pending"]) == (1, 0)
        answer = ask_the_readme_question(parts["clickhouse"]["address"], "meter")
        assert answer == "acct-42\tllada-8b-instruct\t1\t256\t23\n"

        stopped = fleetmeter("down")["stopped"]
        assert sorted(stopped) == ["clickhouse", "kafka", "supervisor", "worker-1"]
        assert not any(alive(part["pid"]) for part in parts.values())
        assert fleetmeter("down") == {"stopped": []}


def readme_block(language: str) -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert block is not None
    return block[1]


def emit_the_readme_example(bootstrap: str, folder: Path) -> None:
    script = folder / "example.py"
    script.write_text(readme_block("python").replace("localhost:9092", bootstrap), encoding="utf-8")
    subprocess.run([sys.executable, str(script)], check=True, timeout=60)


def ask_the_readme_question(url: str, database: str) -> str:
    query = readme_block("sql").replace("fleetmeter.", f"{database}.").encode()
    with urllib.request.urlopen(urllib.request.Request(url, data=query)) as answer:  # noqa: S310
        return str(answer.read().decode())


def migrations() -> list[Path]:
    return sorted((ROOT / "sql" / "fleetmeter_sql" / "migrations").glob("*.sql"))


def test_a_killed_supervisor_leaves_no_orphans_and_no_lock(tmp_path: Path) -> None:
    with running_stack(tmp_path / "data", workers=0) as fleetmeter:
        pids = [part["pid"] for part in fleetmeter.parts().values()]
        fleetmeter.kill("supervisor")
        wait_until(lambda: not any(alive(pid) for pid in pids), "everything ends with the supervisor", 15)
        assert fleetmeter.run("status", "--json").code == 1
        fleetmeter("down")
        fleetmeter("up", "--workers", "0", "--detach")
        assert fleetmeter.parts()["supervisor"]["ok"]


def is_up(fleetmeter: Commands) -> bool:
    return fleetmeter.run("status", "--json").code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGHUP, marks=pytest.mark.long)])
def test_a_foreground_stack_ends_cleanly_with_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    fleetmeter = Commands(tmp_path / "data")
    process = fleetmeter.start("up", "--workers", "0")
    try:
        wait_until(lambda: process.poll() is not None or is_up(fleetmeter), "the stack is up")
        pids = [part["pid"] for part in fleetmeter.parts().values()]
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == 0
    assert "Stopped" in err
    assert not any(alive(pid) for pid in pids)


def test_a_stack_that_cannot_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    fleetmeter = Commands(tmp_path / "data", {"clickhouse_url": "http://127.0.0.1:9"})
    ran = fleetmeter.run("up", "--workers", "0", "--detach")
    assert ran.code != 0
    assert "127.0.0.1:9" in ran.err
    assert "Traceback" not in ran.err
    assert fleetmeter.run("status", "--json").json["parts"] == {}


def test_single_engines_run_alone_and_are_found(tmp_path: Path) -> None:
    fleetmeter = Commands(tmp_path / "data")
    try:
        kafka = fleetmeter("local", "kafka", "--detach")
        clickhouse = fleetmeter("local", "clickhouse", "--detach")
        config = fleetmeter("config")
        assert config["kafka_bootstrap"]["value"] == kafka["bootstrap"]
        assert config["clickhouse_url"]["value"] == clickhouse["url"]
        assert len(fleetmeter("migrate")["applied"]) == len(migrations())
        answer = subprocess.run(
            ["curl", "--silent", f"{clickhouse['url']}/?query=SELECT+count()+FROM+fleetmeter.usage_minutes"],
            capture_output=True,
            check=True,
            text=True,
        )
        assert answer.stdout == "0\n"
        assert fleetmeter("local", "kafka", "--stop")["stopped"] is True
        assert fleetmeter("down") == {"stopped": ["clickhouse"]}
    finally:
        fleetmeter.run("down")
    assert not alive(kafka["pid"])
    assert not alive(clickhouse["pid"])
