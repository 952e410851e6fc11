"""The files for production name what exists: settings, metrics, states, images. They are not run here."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from fleetmeter_jobs.metrics import Metrics
from fleetmeter_jobs.partition_status import PartitionStatus, State
from fleetmeter_jobs.settings import Settings
from fleetmeter_local import docker
from fleetmeter_producers.ingest.openapi import openapi
from fleetmeter_producers.ingest.settings import IngestSettings
from packaging.requirements import Requirement
from prometheus_client.exposition import generate_latest

DEPLOY = Path(__file__).parents[2] / "deploy"


def _metrics() -> set[str]:
    """Every name that a worker can answer with on /metrics."""
    metrics = Metrics()
    metrics.watch(lambda: {0: PartitionStatus()}, lambda: "counting")
    return set(re.findall(r"^# TYPE (\w+) ", generate_latest(metrics.registry).decode(), re.MULTILINE))


def test_dashboards_and_alerts_name_metrics_that_exist() -> None:
    exposed = _metrics()
    dashboard = json.loads((DEPLOY / "grafana" / "workers.json").read_text())
    text = " ".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    text += (DEPLOY / "prometheus" / "alerts.yml").read_text()
    named = {re.sub(r"_bucket$", "", name) for name in re.findall(r"\bfleetmeter_\w+", text)}
    assert named
    assert named <= exposed
    states = set(re.findall(r'state="(\w+)"', text))
    assert states
    assert states <= {state.value for state in State}


def test_settings_in_the_files_exist() -> None:
    known = {f"FLEETMETER_{name.upper()}" for name in Settings.model_fields}
    for name in ("compose.yaml", "Dockerfile", "kubernetes/worker.yaml", "README.md"):
        named = set(re.findall(r"\bFLEETMETER_[A-Z_]+", (DEPLOY / name).read_text()))
        assert named
        assert named <= known, name


def test_ingest_is_probed_and_drained_as_it_is() -> None:
    text = (DEPLOY / "kubernetes" / "ingest.yaml").read_text()
    paths = openapi()["paths"]
    probed = re.findall(r"path: (/\w+), port: http", text)
    assert len(probed) == 2
    assert set(probed) <= set(paths)
    grace, pause = re.search(r"terminationGracePeriodSeconds: (\d+)", text), re.search(r'sleep, "(\d+)"', text)
    assert grace is not None
    assert pause is not None
    # The requests, then what is left in Kafka's queue.
    assert int(grace[1]) > int(pause[1]) + 2 * IngestSettings().drain_limit_s
    limits = re.search(r"limits: {memory: (\d+)Gi}", text)
    assert limits is not None
    assert int(limits[1]) * 2**30 > 4 * IngestSettings().memory_limit_bytes


@pytest.mark.parametrize("name", ["worker.yaml", "ingest.yaml"])
def test_pods_get_no_variables_for_services(name: str) -> None:
    """Of one called fleetmeter-web Kubernetes would make FLEETMETER_WEB_PORT, which is no number."""
    pods = 0
    for resource in yaml.safe_load_all((DEPLOY / "kubernetes" / name).read_text()):
        if "template" in resource.get("spec", {}):
            pods += 1
            assert resource["spec"]["template"]["spec"]["enableServiceLinks"] is False
    assert pods


def test_compose_runs_the_pinned_images() -> None:
    compose = (DEPLOY / "compose.yaml").read_text()
    images = set(re.findall(r"^ +image: (\S+)$", compose, re.MULTILINE))
    assert images == {"fleetmeter", docker.KAFKA_IMAGE, docker.CLICKHOUSE_IMAGE}


def test_compose_has_no_server_that_is_healthy_before_it_can_be_reached() -> None:
    """The image starts one on its loopback while it makes what it is told to make at its first start."""
    clickhouse = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["clickhouse"]
    assert "CLICKHOUSE_DB" not in clickhouse["environment"]
    assert not any("docker-entrypoint-initdb.d" in volume for volume in clickhouse["volumes"])


def test_the_image_holds_the_versions_that_were_tested(tmp_path: Path) -> None:
    """pip takes no hashes beside a wheel that has none; without them the file is one of plain constraints."""
    (script,) = re.findall(r"^RUN sed (.*?) /wheels/dev\.lock", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    command = ["sh", "-c", f"sed {script} {DEPLOY.parent / 'requirements' / 'dev.lock'}"]
    versions = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = [line for line in versions.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert "hash" not in versions
    assert {"aiokafka", "faust-streaming", "aiohttp", "orjson"} <= {Requirement(line).name for line in lines}


def test_workers_are_scraped_where_they_listen() -> None:
    port = re.search(r"FLEETMETER_WEB_PORT=(\d+)", (DEPLOY / "Dockerfile").read_text())
    assert port is not None
    for name in ("prometheus/prometheus.yml", "kubernetes/worker.yaml", "compose.yaml"):
        assert port[1] in (DEPLOY / name).read_text(), name
