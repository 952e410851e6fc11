"""Connections whose time to connect is one thing, and their time to send another.

urllib3 takes the first for both: a body has to be on its way within it, as a whole. ClickHouse does not read on while
it evaluates a guard, or is short of threads or memory; a large commit would then break off at every try, for as long as
that lasts.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection


class _Http(HTTPConnection):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connect_timeout_s = self.timeout

    def connect(self) -> None:
        with _in_time(self, self.connect_timeout_s):
            super().connect()


class _Https(HTTPSConnection):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connect_timeout_s = self.timeout

    def connect(self) -> None:
        with _in_time(self, self.connect_timeout_s):
            super().connect()


@contextmanager
def _in_time(connection: HTTPConnection, connect_timeout_s: float | None) -> Iterator[None]:
    """Connect within its own limit; what is sent and read then has that of its request."""
    of_request, connection.timeout = connection.timeout, connect_timeout_s
    try:
        yield
    finally:
        connection.timeout = of_request
    connection.sock.settimeout(of_request)


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Https


def connection_pool(connections: int, connect_timeout_s: float, tls: ssl.SSLContext | None) -> urllib3.PoolManager:
    """A pool that tries nothing again. A request's `Timeout.connect` bounds how long its body may take to be sent."""
    pool = urllib3.PoolManager(
        maxsize=connections, retries=False, timeout=urllib3.Timeout(connect=connect_timeout_s), ssl_context=tls
    )
    pool.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
    return pool
