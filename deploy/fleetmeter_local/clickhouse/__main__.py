"""The embedded ClickHouse's process: `python -m fleetmeter_local.clickhouse CONFIG.json`.

The configuration file (mode 0600: it holds passwords) names the data folder, the port (null: a free one), the users and
the file to write the address to once requests are answered. SIGTERM and SIGINT end it cleanly: no new requests, running
ones get 10 seconds (INSERTs all the time they need), the engine is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shutil
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aiohttp import web

from fleetmeter_local.clickhouse.access import Users
from fleetmeter_local.clickhouse.engine import Engine
from fleetmeter_local.clickhouse.server import ClickHouseHttp
from fleetmeter_local.engines import ClickHouseUser
from fleetmeter_local.errors import LocalError
from fleetmeter_local.files import write_whole
from fleetmeter_local.ports import bind_loopback

logger = logging.getLogger("fleetmeter.clickhouse")

GRACE_S = 10.0
READ_THREADS = 32
INSERT_THREADS = 16
_LINE_LIMIT_BYTES = 1 << 20  # of the request line and of a header, as a server's http_max_uri_size


async def serve(engine: Engine, users: Users, spool: Path, sock: socket.socket, address_file: Path) -> None:
    """Answers requests on a bound socket until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with ThreadPoolExecutor(READ_THREADS, "read") as reads, ThreadPoolExecutor(INSERT_THREADS, "insert") as inserts:
        server = ClickHouseHttp(engine, users, spool, reads, inserts)
        runner = web.AppRunner(
            server.application(),
            access_log=None,
            auto_decompress=False,
            handler_cancellation=True,
            shutdown_timeout=GRACE_S,
            max_line_size=_LINE_LIMIT_BYTES,
            max_field_size=_LINE_LIMIT_BYTES,
        )
        await runner.setup()
        await web.SockSite(runner, sock).start()
        host, port = sock.getsockname()[:2]
        write_whole(address_file, json.dumps({"host": host, "port": port}))
        logger.info("chDB (ClickHouse %s) answers on http://%s:%s", engine.version, host, port)
        await stop.wait()
        logger.info("stopping")
        await runner.cleanup()
        await server.close()


def main(config_file: Path) -> int:
    """Runs the process; 0 after a clean stop, 1 if it could not start (the log says why)."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    config = json.loads(config_file.read_text(encoding="utf-8"))
    data_dir, address_file = Path(config["data_dir"]), Path(config["address_file"])
    spool = data_dir / "spool"
    try:
        with contextlib.closing(bind_loopback(config["port"])) as sock:
            data_dir.mkdir(parents=True, exist_ok=True)
            engine = Engine(data_dir / "engine")
            with contextlib.closing(engine):
                shutil.rmtree(spool, ignore_errors=True)  # bodies that a crash left behind
                spool.mkdir(mode=0o700)
                users = Users([ClickHouseUser(**user) for user in config["users"]], engine.table_functions)
                asyncio.run(serve(engine, users, spool, sock, address_file))
    except (LocalError, OSError) as error:
        logger.error("%s", error)
        return 1
    logger.info("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
