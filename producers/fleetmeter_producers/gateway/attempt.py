"""One attempt to answer near the caller, before the cloud is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self, get_args

from fleetmeter_schemas.events import FallbackReason, FallbackV1

from fleetmeter_producers.gateway.call import Call

_REASONS: Final = frozenset(get_args(FallbackReason))
_NS_IN_MS: Final = 1_000_000


class Attempt:
    """One attempt near the caller. An exception inside its block is a reason to fall back: it does not leave the block,
    is kept as `error`, and leaves the request's block if nobody else answered."""

    def __init__(self, call: Call, model: str, fields: Mapping[str, Any], clock_ns: Callable[[], int]) -> None:
        self.call, self.model, self._fields, self._clock_ns = call, model, fields, clock_ns
        self._began_ns = clock_ns()
        self._active_ms: int | None = None
        self.reason: FallbackReason | None = None
        """Why it fell back; None as long as it has not."""
        self.error: Exception | None = None
        """The exception that ended it, if one did."""
        self.worked = True
        """Whether the device began at all."""

    def answered(self, answer: object) -> None:
        """The whole answer of the local server."""
        self.call.answered(answer)

    def chunk(self, chunk: object) -> None:
        """One chunk of its stream."""
        self.call.chunk(chunk)

    def used(self, *, active_ms: int | None = None, **fields: Any) -> None:
        """What you know of the work: fields of `GenerationV1`, and the time that the device computed, if it is not the
        whole time of the block."""
        self.call.used(**fields)
        self._active_ms = self._active_ms if active_ms is None else active_ms

    def fall_back(self, reason: FallbackReason) -> None:
        """The answer, if any, is not good enough. A reason that the contract does not know counts as `other`."""
        self.reason = reason if reason in _REASONS else "other"
        self._stop_clock()

    def give_up(self) -> None:
        """Nobody takes over: emit the failed generation."""
        self.call.failed(self.error)
        self.call.used(status="error", finish_reason=self.reason)
        self.call.finish()

    def wasted(self) -> dict[str, Any]:
        """The fields of the fallback event: the work that was done in vain, and what it shares with the request's other
        events, such as user and trace_id. Who took over is not among them."""
        found = self.call.outcome()
        told = {name: value for name, value in self._fields.items() if name in FallbackV1.model_fields}
        work = {
            "wasted_input_tokens": found.get("input_tokens"),
            "wasted_output_tokens": found.get("output_tokens"),
            "wasted_matrix_gflop": found.get("matrix_gflop"),
            "wasted_active_ms": self._active_ms,
        }
        return {**told, "model": self.model, "fallback_reason": self.reason, **(work if self.worked else {})}

    def __enter__(self) -> Self:
        self.call.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self.call.leave()
        if isinstance(error, Exception):
            self.error = error
            if self.reason is None:
                self.fall_back(_reason_of(error))
            return True
        self._stop_clock()
        if error is not None:
            self.call.failed(error)
        if self.reason is None or error is not None:
            self.reason = None
            self.call.finish()
        return False

    def _stop_clock(self) -> None:
        if self._active_ms is None:
            self._active_ms = (self._clock_ns() - self._began_ns) // _NS_IN_MS


def _reason_of(error: Exception) -> FallbackReason:
    if isinstance(error, TimeoutError):
        return "timeout"
    return "out_of_memory" if isinstance(error, MemoryError) else "error"
