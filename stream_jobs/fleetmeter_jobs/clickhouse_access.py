"""The ledger at the ClickHouse of the settings."""

from __future__ import annotations

import ssl
from urllib.parse import urlsplit

from fleetmeter_jobs.ledger.clickhouse_store import ClickHouseStore
from fleetmeter_jobs.settings import Settings


def clickhouse_store(settings: Settings) -> ClickHouseStore:
    """A store that reaches ClickHouse as the settings say. Opens no connection yet: the first statement does."""
    return ClickHouseStore.connect(
        settings.clickhouse_url,
        settings.clickhouse_user,
        settings.clickhouse_password.get_secret_value(),
        settings.clickhouse_database,
        insert_timeout_s=settings.insert_timeout_s,
        tls=clickhouse_tls(settings),
    )


def clickhouse_tls(settings: Settings) -> ssl.SSLContext | None:
    """Whom an https ClickHouse is trusted from; None for http."""
    if urlsplit(settings.clickhouse_url).scheme != "https":
        return None
    context = settings.clickhouse_files.context()
    if not settings.clickhouse_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
