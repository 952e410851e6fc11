"""One generation of a diffusion server, from its first forward pass to its event."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Literal, Self

from fleetmeter_producers.diffusion.work import Work

_logger = logging.getLogger(__name__)
_MS: Final = 1_000_000

Ending = Literal["ok", "error", "cancelled"]


class DiffusionRun:
    """Counts what happens in one generation, and emits its event once. Made by `DiffusionMeter.generation`.

    As a context manager it emits at the end of the block, if `finish` was not called: with status `cancelled` where the
    request was (asyncio), or a generator was closed; `error` for any other exception, which goes on its way; else `ok`.

    Not thread-safe: it belongs to the thread that decodes the request.
    """

    def __init__(
        self, work: Work, emit: Callable[[dict[str, Any]], str], clock_ns: Callable[[], int], max_steps: int | None
    ) -> None:
        self._work, self._emit, self._clock_ns, self._max_steps = work, emit, clock_ns, max_steps
        self._began_ns = clock_ns()
        self._first_token_ns: int | None = None
        self._produced: int | None = None
        self.event_id: str | None = None
        """The event's id, once it was emitted."""

    def prefill(self, new_positions: int | None = None, *, passes: int = 1) -> None:
        """A forward pass over the prompt that is no denoising step; `new_positions` if a cache held a part of it."""
        self._work.prefill(new_positions, passes)

    def begin_block(self, size: int) -> None:
        """The next `size` positions are denoised from here on. A server without blocks has one: the whole answer.

        Raises `ValueError` for a size below 1, or beyond the canvas.
        """
        self._work.begin_block(size)

    def step(
        self, *, tokens: int = 0, passes: int = 1, new_positions: int | None = None, context: int | None = None
    ) -> None:
        """A denoising step was done.

        `tokens`: output tokens that it settled. `passes`: forward passes that it took; 2 with classifier-free
        guidance; 0 where `counting_passes` sees them. `new_positions` over `context` is the shape of each pass, where
        it is not what the schedule says.
        """
        self._work.step(new_positions, context, passes)
        if tokens:
            self.produced(tokens)

    def write_cache(self) -> None:
        """One more forward pass over the finished block, so that later blocks can attend to it."""
        self._work.write_cache()

    def forward_pass(self, new_positions: int | None = None, context: int | None = None) -> None:
        """A forward pass that is none of the above, such as that of a verifier."""
        self._work.other_pass(new_positions, context)

    def lose_count(self, why: str) -> None:
        """What was counted of steps, blocks and passes can't be trusted, and is left out of the event."""
        _logger.warning("the steps and passes of a generation are not known: %s", why)
        self._work.lost = True

    def produced(self, tokens: int) -> None:
        """So many more output tokens are settled."""
        self._produced = (self._produced or 0) + tokens

    def first_token(self) -> None:
        """The caller sees text from now on; only the first call counts."""
        if self._first_token_ns is None:
            self._first_token_ns = self._clock_ns()

    def finish(
        self,
        output_tokens: int | None = None,
        *,
        status: Ending = "ok",
        finish_reason: str | None = None,
        **fields: Any,
    ) -> str:
        """Emit the event, and return its id.

        `output_tokens` if `produced` and `step(tokens=...)` did not count them. `fields` are further ones of
        `GenerationV1`, such as gpu_ms, user or request_id; they win over what was counted.

        Raises what `UsageClient.emit` raises, and `RuntimeError` if it was emitted already.
        """
        if self.event_id is not None:
            raise RuntimeError(f"this generation was emitted already, as {self.event_id}")
        now = self._clock_ns()
        first = self._first_token_ns
        counted: dict[str, Any] = {
            **self._counted(),
            "output_tokens": self._produced if output_tokens is None else output_tokens,
            "status": status,
            "finish_reason": finish_reason,
            "latency_ms": (now - self._began_ns) // _MS,
            "time_to_first_token_ms": None if first is None else (first - self._began_ns) // _MS,
        }
        self.event_id = self._emit({**counted, **fields})
        return self.event_id

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.event_id is not None:
            return
        if error is None:
            self.finish()
            return
        try:
            self.finish(status="cancelled" if isinstance(error, asyncio.CancelledError | GeneratorExit) else "error")
        except Exception:
            # The request's own exception is the one to see.
            _logger.exception("the usage of a generation that failed could not be emitted")

    def _counted(self) -> dict[str, Any]:
        work = self._work
        steps, most = work.steps, self._max_steps
        if steps is not None and most is not None and steps > most:
            _logger.warning("%d denoising steps were done, max_denoising_steps said %d: it is left out", steps, most)
            most = None
        return {
            "denoising_steps": steps,
            "max_denoising_steps": most,
            "blocks": work.blocks,
            "function_evaluations": work.evaluations,
        }
