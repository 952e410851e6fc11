"""Starts the local broker, and finds it again."""

from __future__ import annotations

import os
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from fleetmeter_local.engines import RunningKafka
from fleetmeter_local.errors import EngineStartError, LocalError
from fleetmeter_local.files import write_whole
from fleetmeter_local.kafka.jars import kafka_jars
from fleetmeter_local.kafka.properties import broker_settings, properties_text
from fleetmeter_local.local import LocalLifecycle, Started, await_ready, start_local
from fleetmeter_local.ports import LOOPBACK, bind_loopback, free_port
from fleetmeter_local.prerequisites import check_java, require
from fleetmeter_local.probes import kafka_answers
from fleetmeter_local.process import size_of, start_process, trouble_in
from fleetmeter_local.state import daemon_state

NAME = "kafka"
NO_VARIABLES: Final[Mapping[str, str]] = MappingProxyType({})
_PORT_ATTEMPTS = 3
PORT_LOST = "Address already in use"
_FORMAT_TIMEOUT_S = 60
_ADVICE = (
    "See what the log says below; a port that is taken, a folder that another broker has open, too little memory "
    "(it needs 512 MB of heap) and a full disk are the usual reasons."
)
_JAVA_OPTIONS = (
    "-Xms128m",
    "-Xmx512m",
    "-XX:+UseSerialGC",  # one small node: less memory and fewer threads than G1
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss,SSS",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka=info",
)


def start_broker(
    data_dir: Path,
    *,
    port: int | None,
    detached: bool,
    cache_dir: Path | None,
    timeout_s: float,
    environment: Mapping[str, str] = NO_VARIABLES,
) -> RunningKafka:
    """Starts a broker on `data_dir/kafka`, formatting the folder first if it is new; returns once it answers.
    `environment` has variables for its process beside ours.

    Raises PrerequisiteError, AlreadyRunningError, EngineStartError, LocalError (jars).
    """
    require(check_java())
    if "," in str(data_dir.absolute()):
        raise LocalError(
            f"The Kafka folder {data_dir.absolute()} has a comma in its name, where Kafka expects the next folder: "
            "give another with --data-dir.",
            domain="input",
        )
    jars = kafka_jars(cache_dir)

    def start(port: int | None) -> Started:
        return _start_at_some_port(
            data_dir, port, jars, detached=detached, timeout_s=timeout_s, environment=environment
        )

    return _running(start_local(data_dir, NAME, port, start))


def find_broker(data_dir: Path, *, cache_dir: Path | None = None, timeout_s: float = 120.0) -> RunningKafka | None:
    """The broker that serves this folder; None if none runs. A later `restart` of it is detached."""
    state = daemon_state(data_dir, NAME)
    if state is None or not state.is_alive():
        return None

    def start(port: int | None) -> Started:
        return _start_at_some_port(data_dir, port, kafka_jars(cache_dir), detached=True, timeout_s=timeout_s)

    return _running(LocalLifecycle(data_dir, Started(state.process(), state.address), start))


def _running(lifecycle: LocalLifecycle) -> RunningKafka:
    return RunningKafka(lifecycle.address["bootstrap"], "local", lifecycle)


def _start_at_some_port(
    data_dir: Path,
    port: int | None,
    jars: Path,
    *,
    detached: bool,
    timeout_s: float,
    environment: Mapping[str, str] = NO_VARIABLES,
) -> Started:
    """A free port may be taken by someone else before the broker has it: then another one, a few times."""
    for _ in range(_PORT_ATTEMPTS - 1):
        try:
            return _start(data_dir.absolute(), port, jars, detached, timeout_s, environment)
        except EngineStartError as error:
            if PORT_LOST not in error.log_tail:
                raise
    return _start(data_dir.absolute(), port, jars, detached, timeout_s, environment)


def _start(
    data_dir: Path, port: int | None, jars: Path, detached: bool, timeout_s: float, environment: Mapping[str, str]
) -> Started:
    folder, log_path = data_dir / "kafka", data_dir / "logs" / "kafka.log"
    port = free_port() if port is None else _checked(port)
    properties = folder / "server.properties"
    write_whole(properties, properties_text(broker_settings(str(folder / "partitions"), port, free_port())))
    classpath = str(jars / "*")
    cluster_id = _format(folder / "partitions", properties, classpath, log_path)
    process = start_process(
        NAME,
        ["java", *_JAVA_OPTIONS, "-cp", classpath, "kafka.Kafka", str(properties)],
        log_path=log_path,
        env={**_java_environment(), **environment},
        detached=detached,
    )
    bootstrap = f"{LOOPBACK}:{port}"

    def answers() -> bool | None:
        # The cluster's id tells our broker from a stranger's that has the port and answers in its place.
        return kafka_answers(bootstrap, cluster_id=cluster_id) or None

    await_ready(process, answers, timeout_s=timeout_s, advice=_ADVICE, domain="kafka")
    return Started(process, {"bootstrap": bootstrap, "port": str(port)})


def _java_environment() -> dict[str, str]:
    """Without options that someone exported for other Java programs, and in UTF-8: of another locale Java takes the
    names of files, and words for errors that are known here in English only."""
    others = ("JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS")
    return {key: value for key, value in os.environ.items() if key not in others} | {"LC_ALL": "C.UTF-8"}


def _checked(port: int) -> int:
    """The port, if nobody has it now: a sentence at once is better than a broker's stack trace later."""
    try:
        with bind_loopback(port):
            return port
    except OSError as error:
        raise EngineStartError(
            NAME, str(error), "Choose another port, or stop what has it.", log_path=None, domain="kafka"
        ) from error


def _format(log_dir: Path, properties: Path, classpath: str, log_path: Path) -> str:
    """Gives a new folder a cluster id, and leaves a formatted one as it is; returns the cluster's id."""
    if (log_dir / "meta.properties").is_file():
        return _cluster_id(log_dir)
    log_path.parent.mkdir(parents=True, exist_ok=True)
    log_start = size_of(log_path)
    cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
    with log_path.open("ab") as log:
        done = subprocess.run(
            [
                "java",
                "-Xmx128m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",  # lives for a second: compile quickly, not well
                "-cp",
                classpath,
                "kafka.tools.StorageTool",
                "format",
                f"--cluster-id={cluster_id}",
                f"--config={properties}",
                "--ignore-formatted",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=_java_environment(),
            timeout=_FORMAT_TIMEOUT_S,
            check=False,
        )
    if done.returncode != 0:
        raise EngineStartError(
            NAME,
            f"its folder {log_dir} could not be formatted",
            _ADVICE,
            log_path=log_path,
            log_tail=trouble_in(log_path, log_start),
            domain="kafka",
        )
    return _cluster_id(log_dir)


def _cluster_id(log_dir: Path) -> str:
    meta = log_dir / "meta.properties"
    for line in meta.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "cluster.id":
            return value.strip()
    raise LocalError(f"{meta} names no cluster.id: the folder is damaged. Move it away to start anew.", domain="kafka")
