"""The read interface for gateways: GET /v1/accounts/{account}/entitlements.

    200  the document, with ETag and Cache-Control
    304  If-None-Match named what holds still
    401  no token, or one that is not known         403  the token is not for this account
    404  no such account                            503  nothing could be read yet

A gateway may keep an answer for max-age, which never reaches beyond the moment at which the plan may change, and may go
on with it for as long as stale-if-error says when this server does not answer (RFC 9111, RFC 5861). Problems are JSON
as RFC 9457 describes it. /healthz and /readyz are for operators.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Literal

import orjson
from aiohttp import web

from fleetmeter_billing.entitlements.shelf import Shelf
from fleetmeter_billing.errors import BillingError

_logger = logging.getLogger(__name__)

Verdict = Literal["allowed", "stranger", "forbidden"]
Judge = Callable[[str | None, str], Verdict]
"""Whether an Authorization header may read an account's entitlements."""
PATH: Final = "/v1/accounts/{account}/entitlements"


@dataclass(frozen=True, slots=True)
class Caching:
    """How long gateways may keep an answer, how long they may go on with it in need, and how often it is read anew."""

    max_age_s: int = 60
    stale_if_error_s: int = 86_400
    refresh_s: float = 30.0


def entitlements_app(shelf: Shelf, judge: Judge, caching: Caching = Caching()) -> web.Application:
    """The aiohttp application; it reads the shelf when it starts, and every `refresh_s` from then on."""

    async def entitlements(request: web.Request) -> web.Response:
        account = request.match_info["account"]
        verdict = judge(request.headers.get("Authorization"), account)
        if verdict == "stranger":
            return _problem(
                HTTPStatus.UNAUTHORIZED,
                "send the header Authorization: Bearer ..., with a token that the operator gave you",
                {"WWW-Authenticate": 'Bearer realm="fleetmeter"'},
            )
        if verdict == "forbidden":
            return _problem(HTTPStatus.FORBIDDEN, f"the token is not for account {account}")
        try:
            document = shelf.document(account)
        except LookupError as error:
            return _problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": "5"})
        except BillingError as error:
            # The account's subscription names a card or plan that is not there: an operator has to see to it.
            _logger.error("%s", error)
            return _problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": "60"})
        if document is None:
            return _problem(HTTPStatus.NOT_FOUND, f"there is no account {account}: see fleetmeter accounts list")
        left_s = int((document.valid_until - shelf.now()).total_seconds())
        headers = {
            "ETag": document.etag,
            "Cache-Control": (
                f"private, max-age={max(0, min(caching.max_age_s, left_s))}, stale-if-error={caching.stale_if_error_s}"
            ),
            "Vary": "Authorization",
        }
        if _matches(request.headers.get("If-None-Match"), document.etag):
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
        return web.Response(body=document.body, headers=headers, content_type="application/json")

    async def healthy(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def ready(_request: web.Request) -> web.Response:
        status = HTTPStatus.SERVICE_UNAVAILABLE if shelf.age_s is None else HTTPStatus.OK
        return web.json_response({"read_s_ago": shelf.age_s, "error": shelf.error}, status=status)

    async def refreshing(_app: web.Application) -> AsyncIterator[None]:
        await asyncio.to_thread(shelf.refresh)
        task = asyncio.create_task(_every(caching.refresh_s, shelf.refresh))
        yield
        task.cancel()

    app = web.Application()
    app.router.add_get(PATH, entitlements)
    app.router.add_get("/healthz", healthy)
    app.router.add_get("/readyz", ready)
    app.cleanup_ctx.append(refreshing)
    return app


@asynccontextmanager
async def serving(app: web.Application, host: str, port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Takes connections (port 0: a free one; with `tls` only encrypted ones) and gives the base URL. Raises OSError if
    it can't listen there."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=tls).start()
        bound_host, bound_port = runner.addresses[0][:2]
        name = f"[{bound_host}]" if ":" in bound_host else bound_host
        yield f"{'http' if tls is None else 'https'}://{name}:{bound_port}"
    finally:
        await runner.cleanup()


async def _every(seconds: float, work: Callable[[], object]) -> None:
    while True:
        await asyncio.sleep(seconds)
        await asyncio.to_thread(work)


def _matches(if_none_match: str | None, etag: str) -> bool:
    """As RFC 9110 13.1.2 compares: weakly, `*` matches whatever there is."""
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag in tags


def _problem(status: HTTPStatus, detail: str, headers: dict[str, str] | None = None) -> web.Response:
    body = orjson.dumps({"type": "about:blank", "title": status.phrase, "status": int(status), "detail": detail})
    return web.Response(
        body=body,
        status=status,
        headers={"Cache-Control": "no-store", **(headers or {})},
        content_type="application/problem+json",
    )
