"""The HTTP service: POST /v1/events, and what operators ask.

It answers 202 when the broker has acknowledged everything that was accepted of a request. An answer of 5xx, or none,
says nothing about the events: sent again, they have the same ids, and each counts once.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus
from threading import local
from typing import Any, Final

import orjson
from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from fleetmeter_producers.errors import UndeliveredError
from fleetmeter_producers.ingest.array import judged_elements
from fleetmeter_producers.ingest.decoding import decode, encoding_of
from fleetmeter_producers.ingest.delivery import Delivery, Receipt
from fleetmeter_producers.ingest.framing import Format, events_of, format_of
from fleetmeter_producers.ingest.judging import Judge, NewJudge, Refusal
from fleetmeter_producers.ingest.metrics import IngestMetrics
from fleetmeter_producers.ingest.openapi import openapi
from fleetmeter_producers.ingest.problem import CONTENT_TYPE, Problem
from fleetmeter_producers.ingest.reading import check_length, read_body
from fleetmeter_producers.ingest.room import Room, Share
from fleetmeter_producers.ingest.settings import IngestSettings
from fleetmeter_producers.ingest.sifting import FORBIDDEN, Sifted, sift
from fleetmeter_producers.ingest.token_book import Book, Caller
from fleetmeter_producers.packing import packing

_logger = logging.getLogger(__name__)

EVENTS_PATH: Final = "/v1/events"
_RESEND: Final = "send the request again with the same ids: no event is counted twice"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class IngestService:
    """Takes requests and answers them; owns the threads that judge, not the delivery."""

    def __init__(
        self,
        settings: IngestSettings,
        book: Book,
        delivery: Delivery,
        new_judge: NewJudge,
        *,
        clock_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._settings = settings
        self._book = book
        self._delivery = delivery
        self._new_judge = new_judge
        self._clock_us = clock_us
        self._pack = packing("ndjson", most_events=settings.record_events, most_bytes=settings.record_bytes)
        self._room = Room(settings.memory_limit_bytes, settings.retry_after_s)
        self._pool = ThreadPoolExecutor(settings.threads, thread_name_prefix="fleetmeter-judge")
        self._own = local()
        self._document = orjson.dumps(openapi())
        self._draining = False
        self._unanswered = 0
        self._all_answered = asyncio.Event()
        self.metrics = IngestMetrics()
        self.metrics.watch("memory_bytes", "Taken of memory_limit_bytes.", lambda: self._room.taken_bytes)
        self.metrics.watch(
            "kafka_refusing", "1 while Kafka refuses, as /readyz says.", lambda: bool(delivery.trouble())
        )
        self.metrics.watch("tokens", "Tokens in force.", book.in_force)
        self.metrics.watch(
            "token_file_broken",
            "1 while the token file can't be read; the last good one holds.",
            lambda: bool(book.error),
        )

    def app(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(middlewares=[self._answered])
        app.router.add_post(EVENTS_PATH, self._events)
        app.router.add_get("/openapi.json", self._openapi)
        app.router.add_get("/healthz", self._live)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/metrics", self._metrics)
        app.cleanup_ctx.append(self._refreshing)
        return app

    async def drain(self, limit_s: float) -> None:
        """Not ready from now on; returns when every request is answered, at the latest after `limit_s`. A connection is
        closed with its answer."""
        self._draining = True
        if self._unanswered:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._all_answered.wait(), limit_s)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    async def _events(self, request: web.Request) -> web.Response:
        caller = self._book.caller(request.headers.get("Authorization"))
        if caller.allowance is not None and (wait_s := caller.allowance.wait_s()) > 0:
            raise _too_many(caller, wait_s)
        format_ = format_of(request.headers.get("Content-Type"), request.headers)
        encoding = encoding_of(request.headers.get("Content-Encoding"))
        check_length(request, self._settings.body_limit_bytes)
        with self._room.share() as share:
            body = await read_body(request, share, self._settings.body_limit_bytes, self._settings.read_timeout_s)
            self.metrics.received_bytes.inc(len(body))
            receipt = Receipt()

            def work() -> Sifted:
                return self._take(caller, body, encoding, format_, request.headers, share, receipt)

            events = 0
            try:
                if len(body) <= self._settings.inline_limit_bytes and encoding is None:
                    sifted = work()
                else:
                    sifted = await asyncio.get_running_loop().run_in_executor(self._pool, work)
                events = sifted.events
            finally:
                if caller.allowance is not None:
                    caller.allowance.pay(events)
            return await self._answer(sifted, receipt)

    def _take(
        self,
        caller: Caller,
        body: bytes,
        encoding: str | None,
        format_: Format,
        headers: Mapping[str, str],
        share: Share,
        receipt: Receipt,
    ) -> Sifted:
        """Everything between the bytes and Kafka's queue; in a thread of its own for large bodies."""
        settings = self._settings
        if encoding is not None:
            # What it grows to is not known before it has grown.
            share.take(settings.body_limit_bytes)
            body = decode(body, encoding, settings.body_limit_bytes)
            share.give_back(settings.body_limit_bytes - len(body))
        events, refusals = self._judged(body, format_, headers)
        sifted = sift(events, refusals, caller.scope, self._pack, explained=settings.explained_errors)
        self._delivery.send(sifted.records, receipt)
        return sifted

    def _judged(
        self, body: bytes, format_: Format, headers: Mapping[str, str]
    ) -> tuple[list[bytes], Sequence[Refusal]]:
        """The events of a body, and which of them are not valid."""
        judge, now_us, most = self._judge(), self._clock_us(), self._settings.batch_limit_events
        guessed = judged_elements(body, judge, now_us, most) if format_ is Format.BATCH else None
        if guessed:
            return guessed
        events = events_of(body, format_, headers.items(), most)
        return events, judge.judge(events, now_us)

    def _judge(self) -> Judge:
        """The judge of this thread: one thread at a time may ask one."""
        judge: Judge | None = getattr(self._own, "judge", None)
        if judge is None:
            judge = self._own.judge = self._new_judge()
        return judge

    async def _answer(self, sifted: Sifted, receipt: Receipt) -> web.Response:
        for reason, count in Counter(error.reason for error in sifted.errors).items():
            self.metrics.rejected.labels(reason).inc(count)
        if not sifted.records:
            if sifted.errors:
                raise _nothing_taken(sifted)
            return _json(sifted.summary(), HTTPStatus.ACCEPTED)
        try:
            await receipt.acknowledged(self._settings.ack_timeout_s)
        except UndeliveredError as error:
            self.metrics.unacknowledged.inc(sifted.accepted)
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"Kafka has not acknowledged this request; {_RESEND}",
                headers={"Retry-After": str(self._settings.retry_after_s)},
            ) from error
        self.metrics.accepted.inc(sifted.accepted)
        return _json(sifted.summary(), HTTPStatus.ACCEPTED)

    async def _openapi(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._document, content_type="application/json")

    async def _live(self, _request: web.Request) -> web.Response:
        return _json({"live": True}, HTTPStatus.OK)

    async def _ready(self, _request: web.Request) -> web.Response:
        """Not ready while Kafka refuses: a balancer may know a better process. Strangers may ask, too: what Kafka says,
        which has addresses in it, stands in the log."""
        if not self._draining and self._delivery.trouble() is None:
            return _json({"ready": True}, HTTPStatus.OK)
        error = "it is shutting down" if self._draining else "Kafka refuses or does not answer; the log says more"
        return _json({"ready": False, "error": error}, HTTPStatus.SERVICE_UNAVAILABLE)

    async def _metrics(self, _request: web.Request) -> web.Response:
        body = generate_latest(self.metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _refreshing(self, _app: web.Application) -> Any:
        async def refresh() -> None:
            while True:
                await asyncio.sleep(self._settings.token_check_interval_s)
                try:
                    await asyncio.to_thread(self._book.refresh)
                except Exception:
                    # Revoked tokens would go on working if this ended.
                    _logger.exception("looking for changed tokens stumbled")

        task = asyncio.create_task(refresh())
        yield
        task.cancel()

    @web.middleware
    async def _answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Counts, and gives every error the form of a problem."""
        self._unanswered += 1
        try:
            return await self._answer_of(request, handler)
        finally:
            self._unanswered -= 1
            if self._draining and not self._unanswered:
                self._all_answered.set()

    async def _answer_of(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        began = time.perf_counter()
        response: web.StreamResponse
        try:
            response = await handler(request)
        except Problem as problem:
            response = _problem(problem)
        except web.HTTPException as error:  # of aiohttp's own: no such path, no such method
            kept = {name: value for name, value in error.headers.items() if name == "Allow"}
            response = _problem(Problem(HTTPStatus(error.status), _words_of(request, error), headers=kept))
        except ConnectionError:
            raise  # the client has left; there is nobody to answer
        except Exception:
            _logger.exception("a request to %s failed inside", request.path)
            response = _problem(
                Problem(HTTPStatus.INTERNAL_SERVER_ERROR, f"a defect of fleetmeter, which has logged it; {_RESEND}")
            )
        if self._draining:
            response.force_close()
        self.metrics.requests.labels(str(response.status)).inc()
        if request.path == EVENTS_PATH:
            self.metrics.seconds.observe(time.perf_counter() - began)
        return response


def _nothing_taken(sifted: Sifted) -> Problem:
    """The answer when there were events and none was good."""
    if all(error.reason == FORBIDDEN for error in sifted.errors):
        return Problem(
            HTTPStatus.FORBIDDEN, "the token allows none of the request's sources and accounts", **sifted.summary()
        )
    return Problem(HTTPStatus.BAD_REQUEST, "no event of the request was good", **sifted.summary())


def _too_many(caller: Caller, wait_s: float) -> Problem:
    return Problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        f"the token {caller.token.id} has sent more events than its rate allows; nothing of this request was taken",
        headers={"Retry-After": str(math.ceil(wait_s))},
    )


def _words_of(request: web.Request, error: web.HTTPException) -> str:
    match error.status:
        case HTTPStatus.NOT_FOUND:
            return f"there is no {request.path}; events go to {EVENTS_PATH}, and /openapi.json describes everything"
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return f"{request.path} does not take {request.method}; the header Allow says what it takes"
    return error.reason


def _problem(problem: Problem) -> web.Response:
    return web.Response(
        body=problem.body(), status=problem.status, headers={**problem.headers, "Content-Type": CONTENT_TYPE}
    )


def _json(body: Mapping[str, Any], status: HTTPStatus) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
