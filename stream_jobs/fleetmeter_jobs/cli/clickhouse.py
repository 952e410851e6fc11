"""The ClickHouse that a command talks to, and how its tables are to be made."""

from __future__ import annotations

import logging
import ssl
from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError
from clickhouse_connect.driver.httputil import default_pool_manager
from fleetmeter_sql import TableOptions, pending_migrations
from fleetmeter_sql.refusals import explain_refusal

from fleetmeter_jobs.cli.exits import CommandError, Exit
from fleetmeter_jobs.kafka_access import is_loopback
from fleetmeter_jobs.ledger.errors import StoreUntrustedError
from fleetmeter_jobs.settings import Settings

# clickhouse_connect turns its warnings on; commands tell what went wrong themselves, once.
logging.getLogger("urllib3").setLevel(logging.ERROR)


def connect(settings: Settings, *, database: str | None = None) -> Any:
    """A clickhouse_connect client of the settings' address; in no database if none is named, so that it may not exist.

    Raises CommandError if nothing answers there or the credentials are wrong, StoreUntrustedError for a certificate
    that is not trusted.
    """
    address = urlsplit(settings.clickhouse_url)
    secure = address.scheme == "https"
    try:
        return clickhouse_connect.get_client(
            host=address.hostname,
            port=address.port or (8443 if secure else 8123),
            secure=secure,
            verify=settings.clickhouse_verify,
            ca_cert=None if settings.clickhouse_ca_file is None else str(settings.clickhouse_ca_file),
            username=settings.clickhouse_user,
            password=settings.clickhouse_password.get_secret_value(),
            autogenerate_session_id=False,
            # A proxy of the environment would look for ClickHouse on its own machine.
            **({"pool_mgr": default_pool_manager()} if is_loopback(address.hostname or "") and not secure else {}),
            **({} if database is None else {"database": database}),
        )
    except ClickHouseError as error:
        if "UNKNOWN_DATABASE" in str(error):
            raise CommandError(
                f"ClickHouse at {settings.clickhouse_url} has no database {database}: run `fleetmeter migrate`.",
                Exit.CLICKHOUSE,
            ) from error
        if (distrust := _distrust(error)) is not None:
            raise StoreUntrustedError(settings.clickhouse_url, distrust.verify_message) from error
        raise CommandError(explain_refusal(error, settings.clickhouse_url), Exit.CLICKHOUSE) from error


def connect_to_write(settings: Settings) -> Any:
    """A client in the settings' database, for commands that add to the books of billing.

    Raises CommandError if the database lacks migrations of this build, DatabaseNewerError if it has some that this
    build does not know: what an older build writes beside a newer one, nobody has tried. Otherwise as `connect`.
    """
    database = settings.clickhouse_database
    client = connect(settings, database=database)
    try:
        require_migrated(client, database)
    except BaseException:
        client.close()
        raise
    return client


def require_migrated(client: Any, database: str) -> None:
    """Raise as `connect_to_write` unless the database's schema is this build's."""
    if lacking := pending_migrations(client, database):
        raise CommandError(
            f"{database} lacks {len(lacking)} migrations: run `fleetmeter migrate` first.", Exit.CLICKHOUSE
        )


def _distrust(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """The check of a certificate that failed, if that is what is behind an error of the libraries."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error


def table_options(settings: Settings) -> TableOptions:
    """How the settings want tables to be made. Raises TableOptionsError."""
    return TableOptions(
        fsync=settings.clickhouse_fsync,
        replicated_path=settings.clickhouse_replicated_path,
        cluster=settings.clickhouse_cluster,
    )
