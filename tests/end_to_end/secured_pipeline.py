"""A pipeline whose engines are reached by settings alone: the client, workers and commands all get the same ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest
from fleetmeter_doubles.secured_kafka import PASSWORD
from fleetmeter_doubles.worker_processes import Pipeline
from fleetmeter_producers import ClientSettings, UsageClient
from fleetmeter_schemas import GenerationV1

EVENTS = 500


@dataclass
class Secured:
    """A topic and a database, and the settings that reach them."""

    pipeline: Pipeline
    settings: dict[str, str]

    def emit(self, monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
        """EVENTS generations by the client, which has the workers' variables, but for `settings`."""
        for name, value in {**self.settings, **settings}.items():
            if name.startswith("kafka_"):
                monkeypatch.setenv(f"FLEETMETER_{name.upper()}", value)
        client = UsageClient(
            self.settings["kafka_bootstrap"],
            "urn:example:gpu-7",
            self.pipeline.topic,
            settings=ClientSettings.from_environment(spool_dir=self.pipeline.folder / "spool"),
        )
        for number in range(EVENTS):
            account = f"account-{number % 3}"
            data = GenerationV1(model="mercury-coder-mini", generation_mode="diffusion", input_tokens=number)
            self.pipeline.sent.append((account, client.emit(account, data), number))
        assert client.close(60).events == 0, client.stats()

    def command(self, *arguments: str, **settings: object) -> tuple[int, str, str]:
        """Exit code and output of a command."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FLEETMETER_")}
        given = {
            **self.settings,
            "topic": self.pipeline.topic,
            "clickhouse_database": self.pipeline.database,
            **settings,
        }
        done = subprocess.run(
            [sys.executable, "-m", "fleetmeter_jobs.cli", *arguments],
            env=environment | {f"FLEETMETER_{name.upper()}": str(value) for name, value in given.items()},
            cwd=self.pipeline.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert PASSWORD not in done.stdout + done.stderr
        return done.returncode, done.stdout, done.stderr

    def json_of(self, *arguments: str, **settings: object) -> Any:
        """What a command that did its work printed."""
        code, out, err = self.command(*arguments, "--json", **settings)
        assert code == 0, out + err
        return json.loads(out)
