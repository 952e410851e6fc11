"""ClickHouse's HTTP protocol over the embedded engine.

Protocol: https://clickhouse.com/docs/interfaces/http. What differs from a server: results are complete before the
answer begins (so an error always has its HTTP status, and a result has to fit into memory); sessions last for one
request; no roles, no external tables, no native block compression.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from aiohttp import web

from fleetmeter_local.clickhouse.access import READING_STATEMENTS, Users, refuse_strangers
from fleetmeter_local.clickhouse.answers import ClickHouseError
from fleetmeter_local.clickhouse.bodies import Body, accepted_encoding, compress, receive
from fleetmeter_local.clickhouse.engine import Answer, Engine
from fleetmeter_local.clickhouse.forms import read_form
from fleetmeter_local.clickhouse.request import Job, read_job
from fleetmeter_local.clickhouse.statement import Statement, parse_statement

logger = logging.getLogger("fleetmeter.clickhouse")

STATEMENT_LIMIT_BYTES = 4 << 20
"""Longest statement without its data; the engine's own limit is its setting `max_query_size`."""

_PIECE_BYTES = 256 << 10
_GLANCE_BYTES = 4096
_EXCERPT_BYTES = 500
_SLOW_S = 1.0
_CANCEL_AGAIN_S = 0.2
# From this revision on a column in the Native format begins with how it is serialised (ProtocolDefines.h).
_CUSTOM_SERIALIZATION_REVISION = 54_454
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OK = "Ok.\n"
_CHANGING_METHODS = frozenset(("POST", "PUT"))


@dataclass(slots=True)
class _Run:
    """One request on its way through the engine's thread."""

    job: Job
    url_statement: bytes
    encoding: str
    begins_insert: bool
    readonly: bool
    body: Body
    accepts: str | None
    statement: Statement | None = None


class ClickHouseHttp:
    """The handler of all requests.

    Args:
        engine: the engine.
        users: who may ask.
        spool: a folder for bodies; whatever is in it may be deleted when no process runs.
        reads: threads for everything but INSERTs.
        inserts: threads for INSERTs alone, so that no number of slow queries keeps one waiting.
    """

    def __init__(self, engine: Engine, users: Users, spool: Path, reads: Executor, inserts: Executor) -> None:
        self._engine = engine
        self._users = users
        self._spool = spool
        self._reads = reads
        self._inserts = inserts
        self._ending: set[asyncio.Task[None]] = set()

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handle)
        return app

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers one request."""
        started = perf_counter()
        query_id = request.query.get("query_id", "")
        try:
            refuse_strangers(request.headers)
            if request.path in ("/ping", "/replicas_status"):
                return web.Response(text=_OK)
            if request.path != "/":
                return web.Response(status=404, text=f"There is no handle {request.path}\n\nUse / or /ping.\n")
            if request.method not in ("GET", "HEAD", "POST", "PUT"):
                return web.Response(status=501, text=f"{request.method} is not supported: use GET or POST.\n")
            if request.method in ("GET", "HEAD") and not request.query.get("query") and not request.can_read_body:
                return web.Response(text=_OK)
            run = await self._receive(request)
            query_id = run.job.query_id
            answer, encoding, data = await self._execute(run)
        except ClickHouseError as error:
            logger.warning("%s %s %.1f ms: %s", query_id, error.status, (perf_counter() - started) * 1e3, error.text)
            return self._refusal(request, error, query_id)
        _log_success(run, perf_counter() - started)
        return await self._send(request, run, answer, encoding, data)

    async def _receive(self, request: web.Request) -> _Run:
        user = self._users.authenticate(request.headers, request.query)
        changes = request.method in _CHANGING_METHODS
        form = await read_form(request) if request.content_type == "multipart/form-data" else []
        values = [*request.query.items(), *form]
        job = read_job(values, request.headers, reader=user.readonly, changes=changes)
        wants = job.settings.get("enable_http_compression", "0") not in ("0", "false", "")
        try:
            body = await receive(request.content.iter_any(), self._spool)
        except OSError as error:
            raise _disk_error(error) from error
        url_statement = dict(values).get("query", "").strip().encode(errors="surrogateescape")
        encoding = request.headers.get("Content-Encoding", "").strip().lower()
        # Of a compressed body nothing is known yet: it counts as a query, which costs an INSERT nothing but its place.
        glance = url_statement or (b"" if encoding else body.head(_GLANCE_BYTES))
        return _Run(
            job=job,
            url_statement=url_statement,
            encoding=encoding,
            begins_insert=glance[:_GLANCE_BYTES].lstrip()[:6].upper() == b"INSERT",
            readonly=user.readonly or not changes,
            body=body,
            accepts=accepted_encoding(request.headers.get("Accept-Encoding", "")) if wants else None,
        )

    async def _execute(self, run: _Run) -> tuple[Answer, str | None, memoryview | bytes]:
        executor = self._inserts if run.begins_insert else self._reads
        work = executor.submit(self._work, run)
        try:
            return await asyncio.wrap_future(work)
        except asyncio.CancelledError:
            # The client has gone, and with this what had not begun. What it wanted to read is of no use to anyone; an
            # INSERT that runs is carried out, as a server does.
            ending = asyncio.create_task(self._end(run, work))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
            raise

    async def _end(self, run: _Run, work: Future[tuple[Answer, str | None, memoryview | bytes]]) -> None:
        """Sees to the end of a run whose client has gone."""
        if work.cancelled():
            run.body.close()
        while not work.done():
            if run.statement is not None and not run.statement.inserts:
                logger.info("%s: the client has gone, the query is cancelled", run.job.query_id)
                # Again and again: the engine may not know the query yet.
                try:
                    await asyncio.to_thread(self._engine.cancel, run.job)
                except ClickHouseError as error:
                    logger.warning("%s could not be cancelled: %s", run.job.query_id, error.text)
            await asyncio.sleep(_CANCEL_AGAIN_S)

    async def close(self) -> None:
        """Waits until nothing runs any more of what clients left behind."""
        while self._ending:
            await asyncio.wait(self._ending)

    def _work(self, run: _Run) -> tuple[Answer, str | None, memoryview | bytes]:
        """In a thread: the statement, its data, the engine, the compression. Deletes the body in the end."""
        try:
            run.body.decompress(run.encoding)
            prefix = run.url_statement + b"\n" if run.url_statement else b""
            head = prefix + run.body.head(STATEMENT_LIMIT_BYTES)
            statement = run.statement = parse_statement(head)
            if statement.local_file is not None:
                raise ClickHouseError(
                    48,
                    "NOT_IMPLEMENTED",
                    f"{statement.local_file} names a file of the client, which a server cannot reach.",
                )
            _refuse_newer_native(run.job, statement)
            if run.readonly:
                self._users.refuse_settings_readers_may_not_give(run.job.settings)
                self._users.refuse_what_readers_may_not(statement)
            data: Body | None = None
            if statement.data_at is not None:
                data = run.body
                data.cut_front(statement.data_at - len(prefix))
                data.put_front(prefix[statement.data_at :].lstrip())
            elif run.body.size + len(prefix) > len(head):
                raise ClickHouseError(
                    229, "QUERY_IS_TOO_LARGE", f"The statement is longer than {STATEMENT_LIMIT_BYTES} bytes."
                )
            answer = self._engine.run(run.job, statement, data)
            if run.accepts is None or not answer.data.nbytes:
                return answer, None, answer.data
            return answer, run.accepts, compress(answer.data, run.accepts)
        except OSError as error:
            raise _disk_error(error) from error
        finally:
            run.body.close()

    def _headers(self, query_id: str) -> dict[str, str]:
        headers = {
            "X-ClickHouse-Server-Display-Name": self._engine.host_name,
            "X-ClickHouse-Timezone": self._engine.timezone,
        }
        if query_id:
            headers["X-ClickHouse-Query-Id"] = query_id
        return headers

    def _refusal(self, request: web.Request, error: ClickHouseError, query_id: str) -> web.Response:
        headers = self._headers(query_id)
        headers["X-ClickHouse-Exception-Code"] = str(error.code)
        text = error.text
        if error.name == "READONLY" and request.method == "GET":
            text += (
                " For queries over HTTP, method GET implies readonly. You should use method POST for modifying queries."
            )
        return web.Response(status=error.status, text=f"{text} (version {self._engine.version})\n", headers=headers)

    async def _send(
        self, request: web.Request, run: _Run, answer: Answer, encoding: str | None, data: memoryview | bytes
    ) -> web.StreamResponse:
        headers = self._headers(run.job.query_id)
        headers["X-ClickHouse-Format"] = answer.format
        headers["X-ClickHouse-Summary"] = json.dumps(answer.summary, separators=(",", ":"))
        content_type = self._engine.content_types.get(answer.format.lower(), "text/plain; charset=UTF-8")
        headers["Content-Type"] = content_type
        if encoding is not None:
            headers["Content-Encoding"] = encoding
        response = web.StreamResponse(headers=headers)
        response.content_length = len(data)
        await response.prepare(request)
        if request.method != "HEAD":
            for start in range(0, len(data), _PIECE_BYTES):
                await response.write(data[start : start + _PIECE_BYTES])
        await response.write_eof()
        return response


def _disk_error(error: OSError) -> ClickHouseError:
    code, name = (243, "NOT_ENOUGH_SPACE") if error.errno in _NO_ROOM else (74, "CANNOT_READ_FROM_FILE_DESCRIPTOR")
    return ClickHouseError(code, name, f"The request's body could not be kept in the spool folder: {error}.")


def _refuse_newer_native(job: Job, statement: Statement) -> None:
    """The Native format has grown with the protocol; what the engine writes is the form before all revisions."""
    named = statement.format or job.default_format
    if job.protocol_revision >= _CUSTOM_SERIALIZATION_REVISION and named == "Native" and not statement.inserts:
        raise ClickHouseError(
            48,
            "NOT_IMPLEMENTED",
            f"The Native format of client_protocol_version {job.protocol_revision} is not supported by the embedded "
            "ClickHouse: ask for another format, or use a server.",
        )


def _log_success(run: _Run, seconds: float) -> None:
    """What changes the schema and what is slow; the rest would fill disks."""
    statement = run.statement
    routine = statement is None or statement.inserts or statement.kind in READING_STATEMENTS
    level = logging.DEBUG if routine and seconds < _SLOW_S else logging.INFO
    text = "" if statement is None else " ".join(statement.text[:_EXCERPT_BYTES].decode(errors="replace").split())
    logger.log(level, "%s 200 %.1f ms: %s", run.job.query_id, seconds * 1e3, text)
