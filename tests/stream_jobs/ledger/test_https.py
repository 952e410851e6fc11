"""ClickHouse behind TLS: the commit's own client and the commands' one trust the same authorities, and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fleetmeter_doubles.certificates import Authority
from fleetmeter_doubles.tls_front import tls_front
from fleetmeter_jobs.cli.clickhouse import connect
from fleetmeter_jobs.clickhouse_access import clickhouse_store
from fleetmeter_jobs.ledger import ClickHouseHttp
from fleetmeter_jobs.ledger.errors import StoreUnavailableError, StoreUntrustedError
from fleetmeter_jobs.settings import Settings
from fleetmeter_local import RunningClickHouse

pytestmark = pytest.mark.clickhouse

Ask = Callable[[Settings], Any]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def port(clickhouse: RunningClickHouse, authority: Authority) -> Iterator[int]:
    with tls_front(authority.issue("clickhouse", "127.0.0.1"), clickhouse.host, clickhouse.port) as listening:
        yield listening


def by_the_ledger(settings: Settings) -> Any:
    return clickhouse_store(settings).http.rows("SELECT 40 + 2")[0][0]


def by_a_command(settings: Settings) -> Any:
    with connect(settings) as client:
        return client.query("SELECT 40 + 2").result_rows[0][0]


both = pytest.mark.parametrize("ask", [by_the_ledger, by_a_command])


def settings_of(clickhouse: RunningClickHouse, url: str, **options: object) -> Settings:
    return Settings.load(
        clickhouse_url=url,
        clickhouse_user=clickhouse.user,
        clickhouse_password=clickhouse.password,
        clickhouse_database="default",
        **options,
    )


@both
def test_a_private_authority(ask: Ask, clickhouse: RunningClickHouse, port: int, authority: Authority) -> None:
    assert ask(settings_of(clickhouse, f"https://127.0.0.1:{port}", clickhouse_ca_file=authority.ca_file)) == 42


@both
def test_whoever_is_not_trusted_is_sent_nothing(
    ask: Ask, clickhouse: RunningClickHouse, port: int, tmp_path: Path
) -> None:
    for options in ({}, {"clickhouse_ca_file": Authority(tmp_path / "stranger").ca_file}):
        with pytest.raises(StoreUntrustedError) as refused:
            ask(settings_of(clickhouse, f"https://127.0.0.1:{port}", **options))
        assert f"https://127.0.0.1:{port} is not trusted" in str(refused.value)
        assert "FLEETMETER_CLICKHOUSE_CA_FILE" in str(refused.value)
        assert (refused.value.retryable, refused.value.mendable, refused.value.domain) == (False, True, "clickhouse")


@both
def test_another_host_s_certificate(ask: Ask, clickhouse: RunningClickHouse, port: int, authority: Authority) -> None:
    with pytest.raises(StoreUntrustedError, match="localhost"):
        ask(settings_of(clickhouse, f"https://localhost:{port}", clickhouse_ca_file=authority.ca_file))


@both
@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_verification_can_be_left_out(ask: Ask, clickhouse: RunningClickHouse, port: int) -> None:
    assert ask(settings_of(clickhouse, f"https://localhost:{port}", clickhouse_verify=False)) == 42


def test_https_spoken_to_a_plain_port_may_pass(clickhouse: RunningClickHouse) -> None:
    """A proxy that comes up may answer so for a moment: the worker waits, and says what it sees."""
    with pytest.raises(StoreUnavailableError, match="did not answer with TLS"):
        ClickHouseHttp(f"https://{clickhouse.host}:{clickhouse.port}").execute("SELECT 1")
