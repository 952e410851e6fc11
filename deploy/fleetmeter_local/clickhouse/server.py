"""ClickHouse's HTTP protocol over the embedded engine.

Protocol: https://clickhouse.com/docs/interfaces/http. What differs from a server: results are complete before the
answer begins (so an error always has its HTTP status, and a result has to fit into memory); sessions last for one
request; no roles, no external tables, no native block compression.
"""

from __future__ import annotations

import asyncio
import json
import logging
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from aiohttp import web

from fleetmeter_local.clickhouse.access import Users, refuse_strangers
from fleetmeter_local.clickhouse.answers import ClickHouseError
from fleetmeter_local.clickhouse.bodies import Body, accepted_encoding, compress, receive
from fleetmeter_local.clickhouse.engine import Answer, Engine
from fleetmeter_local.clickhouse.request import Job, read_job
from fleetmeter_local.clickhouse.statement import Statement, parse_statement

logger = logging.getLogger("fleetmeter.clickhouse")

STATEMENT_LIMIT_BYTES = 16 << 20
"""Longest statement without its data; the engine's own limit is its setting `max_query_size`."""

_PIECE_BYTES = 256 << 10
_OK = "Ok.\n"
_CHANGING_METHODS = frozenset(("POST", "PUT"))


@dataclass(slots=True)
class _Run:
    """One request on its way through the engine's thread."""

    job: Job
    url_statement: bytes
    encoding: str
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
        executor: threads that the engine's calls block.
    """

    def __init__(self, engine: Engine, users: Users, spool: Path, executor: Executor) -> None:
        self._engine = engine
        self._users = users
        self._spool = spool
        self._executor = executor

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
        logger.info("%s 200 %.1f ms: %s", query_id, (perf_counter() - started) * 1e3, _excerpt(run.statement))
        return await self._send(request, run, answer, encoding, data)

    async def _receive(self, request: web.Request) -> _Run:
        user = self._users.authenticate(request.headers, request.query)
        changes = request.method in _CHANGING_METHODS
        job = read_job(request.query.items(), request.headers, reader=user.readonly, changes=changes)
        if request.content_type == "multipart/form-data":
            raise ClickHouseError(
                48, "NOT_IMPLEMENTED", "External tables and form fields are not supported by the embedded ClickHouse."
            )
        wants = job.settings.get("enable_http_compression", "0") not in ("0", "false", "")
        try:
            body = await receive(request.content.iter_any(), self._spool)
        except (web.PayloadAccessError, asyncio.IncompleteReadError, OSError) as error:
            raise ClickHouseError(1000, "POCO_EXCEPTION", f"The request's body broke off: {error}.") from error
        return _Run(
            job=job,
            url_statement=request.query.get("query", "").strip().encode(errors="surrogateescape"),
            encoding=request.headers.get("Content-Encoding", "").strip().lower(),
            readonly=user.readonly or not changes,
            body=body,
            accepts=accepted_encoding(request.headers.get("Accept-Encoding", "")) if wants else None,
        )

    async def _execute(self, run: _Run) -> tuple[Answer, str | None, memoryview | bytes]:
        future = asyncio.get_running_loop().run_in_executor(self._executor, self._work, run)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            # The client has gone. What it wanted to read is of no use to anyone; what it sent is written all the
            # same, as a server does.
            if run.statement is None or not run.statement.inserts:
                logger.info("%s: the client has gone, the query is cancelled", run.job.query_id)
                self._engine.cancel(run.job.query_id)
            raise

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
            if run.readonly:
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


def _excerpt(statement: Statement | None) -> str:
    return "" if statement is None else " ".join(statement.text[:200].decode(errors="replace").split())
