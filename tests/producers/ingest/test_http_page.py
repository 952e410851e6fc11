"""docs/producers/http.md: its examples run as they stand, and its tables name what there is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleetmeter_doubles.ingest_events import arrived
from fleetmeter_doubles.ingest_server import ingest_server
from fleetmeter_doubles.kafka_broker import FakeBroker
from fleetmeter_producers.ingest.openapi import openapi
from fleetmeter_producers.ingest.settings import IngestSettings
from fleetmeter_producers.ingest.token_book import TokenBook
from fleetmeter_producers.ingest.tokens import TokenFile

PAGE = (Path(__file__).parents[3] / "docs" / "producers" / "http.md").read_text(encoding="utf-8")


def examples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
def page(token_file: TokenFile, broker: FakeBroker) -> Iterator[tuple[str, str]]:
    """The address of a server, and a token as the page makes one."""
    _, token = token_file.add("page", accounts=["acme"], sources=["urn:acme:*"])
    with ingest_server(broker, book=TokenBook(token_file, events_per_s=None, burst_s=1)) as server:
        yield server.url, token


@pytest.mark.skipif(shutil.which("curl") is None, reason="the example calls curl")
def test_the_example_for_the_shell_runs(page: tuple[str, str], broker: FakeBroker) -> None:
    url, token = page
    (shell,) = examples("sh")
    done = subprocess.run(
        ["bash", "-euc", shell.replace("http://localhost:8090", url)],
        env={**os.environ, "TOKEN": token},
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert [json.loads(answer) for answer in examples("json")] == [json.loads(done.stdout)]
    assert arrived(broker) == {"urn:acme:gateway-1": ["chatcmpl-1"]}


def test_the_example_in_python_runs(
    page: tuple[str, str], broker: FakeBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    url, token = page
    (python,) = examples("python")
    mine = python.replace("http://localhost:8090", url).replace("fm_...", token)
    broker.refusals.append("not enough replicas")  # 503 at first: it sends again
    exec(compile(mine, "http.md", "exec"), {"__name__": "__main__"})  # noqa: S102  (the page is ours)
    assert capsys.readouterr().out.startswith("1 negative data.output_tokens: is -1;")
    assert [len(ids) for ids in arrived(broker).values()] == [1]


def test_the_table_of_limits_is_the_settings() -> None:
    rows = [
        f"| `{name}` | {'none' if field.default is None else field.default} | {field.description} |"
        for name, field in IngestSettings.model_fields.items()
    ]
    assert "\n".join(rows) in PAGE


def test_every_status_of_the_document_is_explained() -> None:
    explained = {int(code) for row in re.findall(r"^\| ([0-9, ]+) \|", PAGE, re.MULTILINE) for code in row.split(",")}
    described = {int(code) for code in openapi()["paths"]["/v1/events"]["post"]["responses"]}
    assert explained == described - {500} | {404, 405}
