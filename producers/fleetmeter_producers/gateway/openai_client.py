"""Metering the official `openai` client, sync and async: every generation that it gets is emitted once.

    client = meter_openai(OpenAI(), Gateway(usage_client), account="acct-42")

The client stays what it was; this hooks into its `request`, below the resources and above the retries. So a request
that is tried three times is one event, and helpers (`parse`, `stream`, `with_raw_response`) are metered too. It works
with any server that speaks OpenAI's API, and with versions 2 and 3 of the library, which is not imported here.
"""

from __future__ import annotations

import inspect
import logging
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import Any, Final, TypeVar

from fleetmeter_producers.gateway.call import Call, Part, active_call
from fleetmeter_producers.gateway.notes import NOTES, Note, NoteCode
from fleetmeter_producers.gateway.routing import Gateway

_logger = logging.getLogger(__name__)

Client = TypeVar("Client")
Account = str | Callable[[Mapping[str, Any]], str]
Fields = Mapping[str, Any] | Callable[[Mapping[str, Any]], Mapping[str, Any]]

_OPERATIONS: Final = MappingProxyType(
    {"/chat/completions": "chat", "/completions": "completion", "/responses": "chat", "/embeddings": "embedding"}
)
_RESPONSES: Final = "openai-responses"
_WITH_STREAM_OPTIONS: Final = ("/chat/completions", "/completions")
_NO_FIELDS: Final[Mapping[str, Any]] = MappingProxyType({})
_ASK_FOR_USAGE: Final[Mapping[str, Any]] = MappingProxyType({"include_usage": True})


def meter_openai(
    client: Client,
    gateway: Gateway,
    account: Account,
    *,
    convention: str = "openai-chat",
    fields: Fields = _NO_FIELDS,
    stream_options: Mapping[str, Any] = _ASK_FOR_USAGE,
) -> Client:
    """Meter a client from now on, with those that it is copied to by `with_options`; returns the same client.

    `account` pays; it, and `fields` of `GenerationV1`, may be functions of a request's JSON body. `convention` is how
    the server reports usage in chat and text completions, such as `mercury` or `vllm`. `stream_options` are added to
    streams that do not set them; the chunk that only tells the usage, for which the caller did not ask, is held back.

    Inside the block of `request.cloud(...)` or `request.local(...)` what comes back belongs to that call. Raises
    `ValueError` for a client that is metered already, because each event would be there twice.
    """
    if getattr(client, "_fleetmeter", None) is not None:
        raise ValueError("this client is metered already")
    _Metered(gateway, account, convention, fields, stream_options).hook(client)
    return client


class _Metered:
    def __init__(
        self, gateway: Gateway, account: Account, convention: str, fields: Fields, stream_options: Mapping[str, Any]
    ) -> None:
        self._gateway, self._account, self._convention = gateway, account, convention
        self._fields, self._stream_options = fields, stream_options

    def hook(self, client: Any) -> None:
        original, copy = client.request, client.copy

        def request(cast_to: Any, options: Any, **how: Any) -> Any:
            watched = self._watch(options)
            if watched is None:
                return original(cast_to, options, **how)
            call, options, hide = watched
            try:
                result = original(cast_to, options, **how)
            except BaseException as error:
                call.end(error)
                raise
            return _take(call, result, hide=hide)

        async def request_async(cast_to: Any, options: Any, **how: Any) -> Any:
            watched = self._watch(options)
            if watched is None:
                return await original(cast_to, options, **how)
            call, options, hide = watched
            try:
                result = await original(cast_to, options, **how)
            except BaseException as error:
                call.end(error)
                raise
            return _take(call, result, hide=hide)

        def copied(*args: Any, **more: Any) -> Any:
            other = copy(*args, **more)
            self.hook(other)
            return other

        client.request = request_async if inspect.iscoroutinefunction(original) else request
        client.copy = client.with_options = copied
        client._fleetmeter = self  # noqa: SLF001  (our own mark)

    def _watch(self, options: Any) -> tuple[_Watched, Any, bool] | None:
        """The call of a request, the options to send it with, and whether to hide the chunk that tells usage; None for
        requests that generate nothing, and where metering itself is at fault, which is logged."""
        operation = _OPERATIONS.get(str(options.url)) if str(options.method).lower() == "post" else None
        if operation is None:
            return None
        body = options.json_data if isinstance(options.json_data, Mapping) else _NO_FIELDS
        try:
            call = self._call(str(options.url), operation, body)
        except Exception:
            # Code of others, such as `account`; the request must not fail for it.
            _logger.exception("a request of the openai client is not metered")
            NOTES.add(self._convention, [Note(NoteCode.NOT_EMITTED, "generation", "is lost: see the log")])
            return None
        asked = body.get("stream_options")
        if not body.get("stream") or options.url not in _WITH_STREAM_OPTIONS or not self._stream_options:
            return call, options, False
        given = asked if isinstance(asked, Mapping) else _NO_FIELDS
        changed = {**body, "stream_options": {**self._stream_options, **given}}
        return call, options.model_copy(update={"json_data": changed}), "include_usage" not in given

    def _call(self, url: str, operation: str, body: Mapping[str, Any]) -> _Watched:
        active = active_call()
        if active is not None:
            foreign = (url == "/responses") != (active.convention == _RESPONSES)
            return _Watched(active, active.part(self._convention_of(url) if foreign else None), ours=False)
        account = self._account(body) if callable(self._account) else self._account
        fields = self._fields(body) if callable(self._fields) else self._fields
        told = {"operation": operation, **fields}
        model, convention = str(body.get("model") or "unknown"), self._convention_of(url)
        call = self._gateway.call(account, model, convention=convention, **told)
        return _Watched(call, call, ours=True)

    def _convention_of(self, url: str) -> str:
        return _RESPONSES if url == "/responses" else self._convention


class _Watched:
    """A call that this module began (`ours`), or a part of a block's call, which ends itself. `taker` is what gets what
    comes back."""

    def __init__(self, call: Call, taker: Call | Part, *, ours: bool) -> None:
        self._call, self.taker, self._ours = call, taker, ours

    def end(self, error: BaseException | None = None) -> None:
        if error is not None:
            self._call.failed(error)
        if self._ours:
            self._call.finish()

    def forget(self) -> None:
        """Nothing was generated yet: nothing is emitted."""
        if self._ours:
            self._call.outcome()


def _take(watched: _Watched, result: Any, *, hide: bool) -> Any:
    """Read an answer, or hook into a stream."""
    iterator = getattr(result, "_iterator", None)
    if iterator is not None:
        _hook_stream(watched, result, iterator, hide=hide)
        return result
    raw = getattr(result, "http_response", None)
    if raw is None:
        if getattr(result, "status", None) in ("queued", "in_progress"):
            watched.forget()  # a response in the background, which has no usage yet
            return result
        watched.taker.answered(result)
    elif raw.is_stream_consumed:
        watched.taker.answered(_json_of(raw))
    else:
        _Unread(watched, hide=hide).hook(result, raw)
        return result
    watched.end()
    return result


def _json_of(response: Any) -> object:
    try:
        return response.json()
    except ValueError:
        return None


class _Unread:
    """An answer whose body is still to come: that of a stream with `with_raw_response`, and any one with
    `with_streaming_response`. Its caller parses it, reads it, takes it piece by piece, or leaves it."""

    def __init__(self, watched: _Watched, *, hide: bool) -> None:
        self._watched, self._hide = watched, hide
        self._reading = self._settled = False

    def hook(self, result: Any, raw: Any) -> None:
        """Learn what becomes of it; at the latest when nobody has it any more."""
        result.parse = self._then(result.parse, self._parsed)
        for name in ("read", "aread"):
            setattr(raw, name, self._then(getattr(raw, name), lambda _: self._read(raw), reads=True))
        for name in ("close", "aclose"):
            setattr(raw, name, self._then(getattr(raw, name), self._closed))
        weakref.finalize(raw, self._settle, GeneratorExit())

    def _settle(self, error: BaseException | None = None) -> None:
        if not self._settled:
            self._settled = True
            self._watched.end(error)

    def _parsed(self, parsed: Any) -> None:
        iterator = getattr(parsed, "_iterator", None)
        if iterator is not None and not self._settled:
            self._settled = True  # from here on the stream tells
            _hook_stream(self._watched, parsed, iterator, hide=self._hide)

    def _read(self, raw: Any) -> None:
        if not self._settled:
            self._watched.taker.answered(_json_of(raw))
            self._settle()

    def _closed(self, _: object) -> None:
        if not self._reading and not self._settled:  # reading the whole body closes it before it is there
            self._watched.taker.answered(None)  # its pieces went by, unseen
            self._settle()

    def _then(
        self, call: Callable[..., Any], then: Callable[[Any], None], *, reads: bool = False
    ) -> Callable[..., Any]:
        """A call, which may be one to await, and what is done after it."""

        @contextmanager
        def noted() -> Iterator[None]:
            self._reading = self._reading or reads
            try:
                yield
            except BaseException as error:
                if reads:
                    self._settle(error)
                raise

        def called(*args: Any, **more: Any) -> Any:
            with noted():
                result = call(*args, **more)
            then(result)
            return result

        async def awaited(*args: Any, **more: Any) -> Any:
            with noted():
                result = await call(*args, **more)
            then(result)
            return result

        return awaited if inspect.iscoroutinefunction(call) else called


def _hook_stream(watched: _Watched, stream: Any, iterator: Any, *, hide: bool) -> None:
    close = stream.close
    if hasattr(iterator, "__anext__"):

        async def close_async() -> None:
            try:
                await close()
            finally:
                watched.end(GeneratorExit())

        chunks = _chunks_async(watched, iterator, hide=hide)
        with suppress(StopIteration):  # its beginning waits for nothing
            anext(chunks).__await__().send(None)
        stream._iterator = chunks  # noqa: SLF001  (its only way in)
        stream.close = close_async
        return

    def close_sync() -> None:
        try:
            close()
        finally:
            watched.end(GeneratorExit())

    stream._iterator = _chunks(watched, iterator, hide=hide)  # noqa: SLF001  (its only way in)
    next(stream._iterator)  # noqa: SLF001
    stream.close = close_sync


def _chunks(watched: _Watched, iterator: Iterator[Any], *, hide: bool) -> Iterator[Any]:
    """The chunks, after a beginning that is none: only a generator that has begun learns that nobody reads it."""
    try:
        yield None
        for chunk in iterator:
            watched.taker.chunk(chunk)
            if not (hide and _tells_only_usage(chunk)):
                yield chunk
    except BaseException as error:
        watched.end(error)
        raise
    watched.end()


async def _chunks_async(watched: _Watched, iterator: AsyncIterator[Any], *, hide: bool) -> AsyncIterator[Any]:
    """As `_chunks`."""
    try:
        yield None
        async for chunk in iterator:
            watched.taker.chunk(chunk)
            if not (hide and _tells_only_usage(chunk)):
                yield chunk
    except BaseException as error:
        watched.end(error)
        raise
    watched.end()


def _tells_only_usage(chunk: Any) -> bool:
    return getattr(chunk, "usage", None) is not None and not getattr(chunk, "choices", None)
