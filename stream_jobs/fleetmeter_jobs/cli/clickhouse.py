"""The ClickHouse that a command talks to."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError

from fleetmeter_jobs.cli.exits import CommandError, Exit
from fleetmeter_jobs.settings import Settings


def connect(settings: Settings, *, database: str | None = None) -> Any:
    """A clickhouse_connect client of the settings' address; in no database if none is named, so that it may not exist.

    Raises CommandError if nothing answers there or the credentials are wrong.
    """
    address = urlsplit(settings.clickhouse_url)
    secure = address.scheme == "https"
    try:
        return clickhouse_connect.get_client(
            host=address.hostname,
            port=address.port or (8443 if secure else 8123),
            secure=secure,
            username=settings.clickhouse_user,
            password=settings.clickhouse_password.get_secret_value(),
            autogenerate_session_id=False,
            **({} if database is None else {"database": database}),
        )
    except ClickHouseError as error:
        if "UNKNOWN_DATABASE" in str(error):
            raise CommandError(
                f"ClickHouse at {settings.clickhouse_url} has no database {database}: run `fleetmeter migrate`.",
                Exit.CLICKHOUSE,
            ) from error
        raise CommandError(
            f"ClickHouse at {settings.clickhouse_url} does not answer: {str(error).splitlines()[0]} "
            f"Start one with `fleetmeter up`, or set FLEETMETER_CLICKHOUSE_URL.",
            Exit.CLICKHOUSE,
        ) from error
