"""Kafka and ClickHouse on one machine, for demos, development and tests. Production runs servers.

    with start_kafka(data_dir) as kafka, start_clickhouse(data_dir) as clickhouse:
        ...  kafka.bootstrap, clickhouse.url

`start_process`, `DaemonState` and friends serve `fleetmeter up --detach | status | down` for workers too.
"""

from fleetmeter_local.choice import find_clickhouse, find_kafka, start_clickhouse, start_kafka
from fleetmeter_local.engines import DEFAULT_USERS, ClickHouseUser, RunningClickHouse, RunningKafka, Source
from fleetmeter_local.errors import (
    AlreadyRunningError,
    EngineDiedError,
    EngineStartError,
    EngineStopError,
    EngineUnreachableError,
    LocalError,
    PrerequisiteError,
)
from fleetmeter_local.foreground import run_clickhouse, run_kafka
from fleetmeter_local.prerequisites import Prerequisite, check_prerequisites
from fleetmeter_local.process import ManagedProcess, ProcessIdentity, start_process
from fleetmeter_local.state import (
    DaemonState,
    all_daemons,
    daemon_state,
    forget_daemon,
    remember_daemon,
    stop_daemon,
)

__all__ = [
    "DEFAULT_USERS",
    "AlreadyRunningError",
    "ClickHouseUser",
    "DaemonState",
    "EngineDiedError",
    "EngineStartError",
    "EngineStopError",
    "EngineUnreachableError",
    "LocalError",
    "ManagedProcess",
    "Prerequisite",
    "PrerequisiteError",
    "ProcessIdentity",
    "RunningClickHouse",
    "RunningKafka",
    "Source",
    "all_daemons",
    "check_prerequisites",
    "daemon_state",
    "find_clickhouse",
    "find_kafka",
    "forget_daemon",
    "remember_daemon",
    "run_clickhouse",
    "run_kafka",
    "start_clickhouse",
    "start_kafka",
    "start_process",
    "stop_daemon",
]
