"""One call of a model through a gateway: reads what came back, and emits one generation event, whatever happened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Final, Self

from fleetmeter_schemas.events import GenerationV1

from fleetmeter_producers.gateway.compose import check_names
from fleetmeter_producers.gateway.convention import Convention
from fleetmeter_producers.gateway.notes import NOTES, Note, NoteCode
from fleetmeter_producers.gateway.usage import UsageStream

_NS_IN_MS: Final = 1_000_000

Emit = Callable[[Mapping[str, Any]], str | None]
"""Emits one event of fields, and returns its id; None if it was refused, which was noted. Never raises."""
CountTokens = Callable[[str], int]

_active: ContextVar[Call | None] = ContextVar("fleetmeter_active_call", default=None)


def active_call() -> Call | None:
    """The call whose block runs here, if one does: a metered client gives it what comes back, instead of making a call
    of its own, which would count the generation twice."""
    call = _active.get()
    return None if call is None or call.finished else call


class Call:
    """Give it what comes back (`answered`, or `chunk` for each of a stream); its event is emitted when its block ends,
    or by `finish`. Once: later calls do nothing.

    `timed` says that the call takes as long as this object is in use; else times are only those that were told.

    Nothing of metering is raised: what goes wrong is noted and counted. Not thread-safe: it belongs to one request.
    """

    def __init__(
        self,
        emit: Emit,
        convention: Convention,
        fields: Mapping[str, Any],
        *,
        clock_ns: Callable[[], int],
        count_tokens: CountTokens | None = None,
        timed: bool = True,
    ) -> None:
        self._emit, self._convention, self._fields = emit, convention, dict(fields)
        self._clock_ns, self._count_tokens, self._timed = clock_ns, count_tokens, timed
        self._began_ns = clock_ns()
        self._first_ns: int | None = None
        self._stream = UsageStream(convention)
        self._parts: list[UsageStream] = []
        self._told: dict[str, Any] = {}
        self._texts: list[str] = []
        self._delivered_texts: int | None = None
        self._caller_left = False
        self._left_early: str | None = None
        self._finished = False
        self._outer: Token[Call | None] | None = None
        self.event_id: str | None = None
        """The event's id, once it was emitted."""

    def answered(self, answer: object) -> None:
        """The whole answer, as a mapping or an object of the provider's SDK."""
        self._take(answer, self._stream)

    def chunk(self, chunk: object) -> None:
        """One chunk of a stream. The first that says something is the first token."""
        self._take_chunk(chunk, self._stream)

    def part(self, convention: str | None = None) -> Part:
        """One request of several that the call may take, such as the steps of an agent: their usage adds up. Answers
        and chunks that the call gets itself are of one request, of which the later one holds."""
        self._parts.append(UsageStream(convention or self._convention))
        return Part(self, self._parts[-1])

    @property
    def convention(self) -> str:
        """The name of its convention."""
        return self._convention.name

    def used(self, **fields: Any) -> None:
        """What you know better than the provider says: fields of `GenerationV1`. `TypeError` for others."""
        check_names(GenerationV1, fields)
        self._told.update(fields)

    def caller_left(self) -> None:
        """The caller cancelled. Chunks that come after this were generated, but not delivered."""
        self._caller_left = True
        self._delivered_texts = len(self._texts)

    def failed(self, error: BaseException | None = None) -> None:
        """The call failed, or was cancelled, as the error tells; usage that is known counts all the same. An answer
        that was complete before that stays complete."""
        if self._left_early is None:
            cancelled = isinstance(error, asyncio.CancelledError | GeneratorExit | KeyboardInterrupt)
            self._left_early = "cancelled" if cancelled else "error"

    def finish(self) -> str | None:
        """Emit the event, and return its id; None if it was refused. Emits once: later calls return the same."""
        if self._finished:
            return self.event_id
        self._finished = True
        self.event_id = self._emit(self._outcome())
        return self.event_id

    def outcome(self) -> dict[str, Any]:
        """The fields of what came back, for those who emit another event of it; then `finish` emits nothing."""
        self._finished = True
        return self._outcome()

    @property
    def finished(self) -> bool:
        """Whether the event was emitted, or never will be."""
        return self._finished

    def enter(self) -> None:
        """Be the active call from here on."""
        self._outer = _active.set(self)

    def leave(self) -> None:
        """Be it no longer."""
        if self._outer is not None:
            try:
                _active.reset(self._outer)
            except ValueError:  # a generator that is closed from elsewhere: that context knows nothing of us
                _active.set(None)
            self._outer = None

    def __enter__(self) -> Self:
        self.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave()
        if error is not None:
            self.failed(error)
        self.finish()

    def _take(self, answer: object, stream: UsageStream) -> bool:
        text = stream.add(answer)
        if text and self._count_tokens is not None:
            self._texts.append(text)
        return bool(text)

    def _take_chunk(self, chunk: object, stream: UsageStream) -> None:
        if self._take(chunk, stream) and self._first_ns is None:
            self._first_ns = self._clock_ns()

    def _outcome(self) -> dict[str, Any]:
        notes: list[Note] = []
        now = self._clock_ns()
        known = _together(stream.usage().fields for stream in (self._stream, *self._parts) if not stream.empty)
        # The fleet's own name is the one that rate cards know; the provider's tells the version.
        version = known.pop("model", None)
        fields: dict[str, Any] = {
            "model_version": None if version == self._fields.get("model") else version,
            **known,
            **({"latency_ms": (now - self._began_ns) // _NS_IN_MS} if self._timed else {}),
            **{name: value for name, value in self._fields.items() if value is not None},
        }
        if self._first_ns is not None:
            fields["time_to_first_token_ms"] = (self._first_ns - self._began_ns) // _NS_IN_MS
        fields["status"] = "cancelled" if self._caller_left else known.get("status") or self._left_early or "ok"
        fields.update(self._told)
        self._count(fields, notes)
        NOTES.add(self._convention.name, notes)
        return fields

    def _count(self, fields: dict[str, Any], notes: list[Note]) -> None:
        """Count tokens here: those that nobody told, and those that reached a caller who left."""
        if self._count_tokens is None or not self._texts:
            return
        if fields.get("output_tokens") is None:
            counted = self._counted(self._texts, notes)
            if counted is not None:
                fields.update(output_tokens=counted, usage_fidelity="estimated")
                notes.append(Note(NoteCode.ESTIMATED, "output_tokens", "was counted here: the provider did not tell"))
        if fields["status"] == "cancelled" and "delivered_output_tokens" not in fields:
            delivered = self._counted(self._texts[: self._delivered_texts], notes)
            whole = fields.get("output_tokens")
            if delivered is not None and whole is not None:
                # Our count and the provider's may differ by a few tokens; nothing is delivered that was not generated.
                fields["delivered_output_tokens"] = min(delivered, whole)

    def _counted(self, texts: list[str], notes: list[Note]) -> int | None:
        count = self._count_tokens
        if count is None:
            return None
        try:
            tokens = count("".join(texts))
        except Exception as error:  # noqa: BLE001  (code of others, for which no request may fail)
            notes.append(Note(NoteCode.BAD_NUMBER, "count_tokens", f"failed with {type(error).__name__}"))
            return None
        if isinstance(tokens, int) and not isinstance(tokens, bool) and tokens >= 0:
            return tokens
        notes.append(Note(NoteCode.BAD_NUMBER, "count_tokens", "gave no whole number from 0"))
        return None


class Part:
    """One request of a call; made by `Call.part`."""

    def __init__(self, call: Call, stream: UsageStream) -> None:
        self.call, self._stream = call, stream

    def answered(self, answer: object) -> None:
        """As `Call.answered`, of this request."""
        self.call._take(answer, self._stream)  # noqa: SLF001  (it is the call's own)

    def chunk(self, chunk: object) -> None:
        """As `Call.chunk`, of this request."""
        self.call._take_chunk(chunk, self._stream)  # noqa: SLF001


def _together(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What the requests of one call report: quantities added up, of other things the last one's."""
    known: dict[str, Any] = {}
    for fields in parts:
        known |= {
            name: known.get(name, 0) + value if isinstance(value, int) else value for name, value in fields.items()
        }
    return known
