"""A pipeline whose engines are reached by settings alone: the client, workers and commands all get the same ones."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from fleetmeter_doubles.commands import run_command
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
        given = {
            **self.settings,
            "topic": self.pipeline.topic,
            "clickhouse_database": self.pipeline.database,
            **settings,
        }
        ended = run_command(*arguments, folder=self.pipeline.folder, **given)
        assert PASSWORD not in ended.out + ended.err
        return ended.code, ended.out, ended.err

    def json_of(self, *arguments: str, **settings: object) -> Any:
        """What a command that did its work printed."""
        code, out, err = self.command(*arguments, "--json", **settings)
        assert code == 0, out + err
        return json.loads(out)
