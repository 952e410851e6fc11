"""An ingest process from its first listener to its last acknowledgement.

On SIGTERM (or Ctrl-C) it takes no new connections, answers every request whose head has come, waits until Kafka has
acknowledged what they held, and ends. A process that is killed loses nothing that it answered with 202.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from fleetmeter_producers.errors import ClientSettingsError
from fleetmeter_producers.ingest.delivery import Delivery
from fleetmeter_producers.ingest.service import IngestService
from fleetmeter_producers.ingest.settings import IngestSettings

_logger = logging.getLogger(__name__)

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_BACKLOG: Final = 1024
_KEEP_ALIVE_S: Final = 75.0
_LAST_WORDS_S: Final = 2.0
"""What answers may take to be written once there are no requests left to answer."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; port 0 takes a free one."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None


async def serve(
    service: IngestService,
    delivery: Delivery,
    settings: IngestSettings,
    address: Address,
    on_listening: Callable[[str], None],
) -> None:
    """Serve until a signal, then drain. `on_listening` is told the base URL once connections are taken.

    Raises `ClientSettingsError` if the address can't be listened on.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stopped.set)
    async with listening(service, delivery, settings, address) as url:
        on_listening(url)
        await stopped.wait()
        _logger.info("shutting down: what was taken in is answered first")


@asynccontextmanager
async def listening(
    service: IngestService, delivery: Delivery, settings: IngestSettings, address: Address
) -> AsyncIterator[str]:
    """Takes connections at the address it gives; drains at the end. Raises as `serve`."""
    runner = web.AppRunner(
        service.app(),
        access_log=None,
        shutdown_timeout=_LAST_WORDS_S,
        keepalive_timeout=_KEEP_ALIVE_S,
        auto_decompress=False,  # aiohttp would do it without a limit of ours
    )
    delivery.start()
    try:
        await runner.setup()
        site = web.TCPSite(runner, address.host, address.port, ssl_context=address.tls, backlog=_BACKLOG)
        try:
            await site.start()
        except OSError as error:
            raise ClientSettingsError(f"can't listen on {address.host}:{address.port}: {error.strerror}") from error
        try:
            yield _url_of(runner, tls=address.tls is not None)
        finally:
            # aiohttp's own shutdown drops what comes after it began: a body on its way would never be complete.
            await site.stop()
            await service.drain(settings.drain_limit_s)
    finally:
        await runner.cleanup()
        left = await asyncio.to_thread(delivery.stop, settings.drain_limit_s)
        service.close()
        if left:
            _logger.warning(
                "Kafka has not acknowledged %d records; their senders were not told that they arrived", left
            )


def _url_of(runner: web.AppRunner, *, tls: bool) -> str:
    host, port = runner.addresses[0][:2]
    name = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{name}:{port}"
