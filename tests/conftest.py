"""Engines for the tests: one Kafka and one ClickHouse a session, started when the first test asks.

`FLEETMETER_KAFKA_BOOTSTRAP` and `FLEETMETER_CLICKHOUSE_URL` point the tests at engines that are already there. Tests
that kill an engine start one of their own with `kafka_factory` or `clickhouse_factory`.
"""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from fleetmeter_local import RunningClickHouse, RunningKafka, start_clickhouse, start_kafka
from hypothesis import HealthCheck, settings
from kafka_classes import broker_options
from unmeasured import unmeasured

_TOLD = "told"
_LONGEST = (
    "test_growing_live",
    "test_chaos_slice",
    "test_crashes",
    "test_worker_process",
    "test_stack_lifecycle",
    "test_dedup_engine",
    "test_store_away",
    "test_audit_command",
    "test_secured_engines",
    "test_replayed_trace",
    "test_scaling",
    "test_golden_runs",
    "test_positions_command",
    "test_close_killed",
    "test_seal",
    "test_expiry",
    "test_deterministic_slice",
    "test_growth_interleavings",
    "test_invoice_killed",
    "test_screens",
    "test_quarantine_replay",
    "test_seal_crashes",
)
"""Files that take long. They come first, or one of them would keep a process busy when others have nothing to do."""
_KAFKA_CLASSES = Path(__file__).resolve().parents[1] / ".kafka-classes.jsa"
"""`make test` makes it."""
_TRACE = pytest.StashKey[str | None]()


def pytest_configure(config: pytest.Config) -> None:
    """FLEETMETER_TRACE is an input of the tests and no setting: what runs under test must not take it for a misspelt
    one."""
    # A shell starts its background jobs with Ctrl-C ignored, and every process that a test starts would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("JDK_JAVA_OPTIONS", broker_options(_KAFKA_CLASSES))
    config.stash[_TRACE] = os.environ.pop("FLEETMETER_TRACE", None)
    # Hypothesis fails tests whose inputs take long, on whatever machine; what it sets on a CI server stays in force.
    patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("patient", patient)
    settings.load_profile("patient")


def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are processors: tests with engines wait now and then."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order in which processes are given files (with --no-loadscope-reorder, as `make test` has it)."""
    ranks = {name: rank for rank, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests wanted to `tell`, whether they passed or not."""
    reports = [report for of_kind in terminalreporter.stats.values() for report in of_kind]
    told = [
        text
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, text in report.user_properties
        if name == _TOLD
    ]
    if told:
        terminalreporter.section("told by tests")
    for text in told:
        terminalreporter.line(str(text))


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """`tell(sentence)` is printed at the end of the run, also when the test passed: a seed that was drawn."""
    return lambda sentence: record_property(_TOLD, sentence)


@pytest.fixture(scope="session")
def trace_file(pytestconfig: pytest.Config) -> Path:
    """Azure's public trace of 2023, conversations: FLEETMETER_TRACE, or in `shared/data` beside the clone."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data" / "azure_llm_trace_2023_conv.csv"
    path = Path(pytestconfig.stash[_TRACE] or default)
    if not path.exists():
        pytest.skip(f"{path.name} is not there; give it with FLEETMETER_TRACE")
    return path


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningKafka]:
    """The session's broker. Share it: topics of your own (`make_topic`), and never stop it."""
    with start_kafka(tmp_path_factory.mktemp("kafka")) as running:
        yield running


@pytest.fixture(scope="session")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningClickHouse]:
    """The session's ClickHouse. Share it: a database of your own (`database`), and never stop it."""
    with unmeasured():
        running = start_clickhouse(tmp_path_factory.mktemp("clickhouse"))
    with running:
        yield running


@pytest.fixture
def kafka_factory(tmp_path: Path) -> Iterator[Callable[[], RunningKafka]]:
    """Starts local brokers that the test may stop, kill and restart; ends them with the test."""
    with ExitStack() as stack:

        def start() -> RunningKafka:
            folder = tmp_path / f"kafka-{uuid.uuid4().hex[:8]}"
            return stack.enter_context(start_kafka(folder, source="local"))

        yield start


@pytest.fixture
def clickhouse_factory(tmp_path: Path) -> Iterator[Callable[[], RunningClickHouse]]:
    """Starts embedded ClickHouses that the test may stop, kill and restart; ends them with the test."""
    with ExitStack() as stack:

        def start() -> RunningClickHouse:
            folder = tmp_path / f"clickhouse-{uuid.uuid4().hex[:8]}"
            return stack.enter_context(start_clickhouse(folder, source="local"))

        yield start


@pytest.fixture
def topic_name() -> str:
    """A topic name that no other test uses. The topic does not exist; see `make_topic`."""
    return f"test-{uuid.uuid4().hex}"


@pytest.fixture
def make_topic(kafka: RunningKafka) -> Iterator[Callable[..., str]]:
    """Creates topics, `make_topic(partitions=1, **config) -> name`, and deletes them after the test.

    Underscores in the names of `config` stand for dots: `make_topic(message_timestamp_type="LogAppendTime")`.
    """
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415
    from fleetmeter_doubles.new_topics import create_topic  # noqa: PLC0415

    made: list[str] = []

    def make(partitions: int = 1, **config: str) -> str:
        name = f"test-{uuid.uuid4().hex}"
        settings = {key.replace("_", "."): value for key, value in config.items()}
        create_topic(kafka.bootstrap, name, partitions, settings)
        made.append(name)
        return name

    yield make
    if made:
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        for deleted in admin.delete_topics(made).values():
            deleted.result(30)


@pytest.fixture
def database(clickhouse: RunningClickHouse) -> Iterator[str]:
    """A database of this test's own, empty; dropped after it."""
    name = f"test_{uuid.uuid4().hex}"
    with _client_of(clickhouse) as client:
        client.command(f"CREATE DATABASE {name}")
        yield name
        client.command(f"DROP DATABASE {name} SYNC")


@pytest.fixture
def clickhouse_client(clickhouse: RunningClickHouse, database: str) -> Iterator[Client]:
    """A client whose default database is `database`."""
    with _client_of(clickhouse, database=database) as client:
        yield client


def _client_of(running: RunningClickHouse, **options: str) -> Client:
    return clickhouse_connect.get_client(
        host=running.host,
        port=running.port,
        username=running.user,
        password=running.password,
        secure=running.secure,
        **options,
    )
