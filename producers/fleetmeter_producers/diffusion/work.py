"""The work of one generation as it happens: steps, blocks, and forward passes with their shapes.

A pass computes some new positions over a context. The schedule (a name of `matrix`) says which, unless the caller does:

    schedule                       the first step on a block      its further steps
    diffusion-full@1               everything over everything     the same
    diffusion-prefix-cache@1       everything over everything     what does not precede the block, over everything
    diffusion-dual-cache@1         everything over everything     the block, over everything
    block-causal@1                 the block, over all up to it   the same

"Everything" is the prompt and the canvas.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from fleetmeter_producers import matrix
from fleetmeter_producers.matrix import Block, MatrixShape, Passes

SCHEDULES: Final[Mapping[str, Callable[..., list[Passes]]]] = MappingProxyType(
    {
        matrix.DIFFUSION: matrix.diffusion,
        matrix.PREFIX_CACHE: matrix.diffusion_prefix_cache,
        matrix.DUAL_CACHE: matrix.diffusion_dual_cache,
        matrix.BLOCK_CAUSAL: matrix.block_causal,
    }
)
"""The schedules of parallel generation, by the names of their formulas."""


class Work:
    """Counts of one generation. Not thread-safe: one request's decoding loop owns it.

    `canvas_tokens` are the answer's positions that are computed together; not known in advance where blocks follow each
    other without one (block-causal), then None. `schedule` None: shapes are only those that the caller gives.
    """

    def __init__(self, schedule: str | None, input_tokens: int | None, canvas_tokens: int | None) -> None:
        self._schedule, self._input, self._canvas = schedule, input_tokens, canvas_tokens
        self._blocks: list[Block] = []
        self._size: int | None = None
        self._steps_on_block = 0
        self._before = 0
        self._passes: Counter[tuple[int, int]] = Counter()
        self._shapeless = 0
        self._steps = 0
        self.lost = False
        """Whether something happened that was not seen; then nothing of the counts is told."""

    def begin_block(self, size: int) -> None:
        """What follows is work on the next `size` positions."""
        if size < 1:
            raise ValueError(f"a block has at least one position, not {size}")
        if self._canvas is not None and self._before + (self._size or 0) + size > self._canvas:
            raise ValueError(
                f"the blocks have {self._before + (self._size or 0) + size} positions, the canvas {self._canvas}: "
                "canvas_tokens is the whole answer that the server computes together"
            )
        self._end_block()
        self._size = size

    def prefill(self, new_positions: int | None, passes: int) -> None:
        """Passes over the prompt; `new_positions` of it, if a cache held the others."""
        new = self._input if new_positions is None else new_positions
        self._add(new, self._input, passes)

    def step(self, new_positions: int | None, context: int | None, passes: int) -> None:
        """A denoising step on the block, of so many passes."""
        by_schedule = self._shape_of_step()
        self._add(
            by_schedule[0] if new_positions is None else new_positions,
            by_schedule[1] if context is None else context,
            passes,
        )
        self._steps += 1
        self._steps_on_block += 1

    def write_cache(self) -> None:
        """One more pass over the finished block, which leaves its keys and values behind."""
        self._add(self._size, self._end, 1)

    def other_pass(self, new_positions: int | None, context: int | None) -> None:
        """A pass that is none of these."""
        self._add(new_positions, context, 1)

    @property
    def steps(self) -> int | None:
        """Denoising steps; None if none was seen."""
        return None if self.lost else self._steps or None

    @property
    def blocks(self) -> int | None:
        """Blocks on which a step was done; None if there was none."""
        return None if self.lost else len([*self._blocks, *self._open_block()]) or None

    @property
    def evaluations(self) -> int | None:
        """Forward passes; None if none was seen, or fewer than blocks, which can't be: then some were missed."""
        count = self._shapeless + self._passes.total()
        return count if not self.lost and count and count >= (self.blocks or 0) else None

    def passes(self) -> list[Passes] | None:
        """The passes; None if there are some whose shape is not known."""
        return None if self.lost or self._shapeless or not self._passes else matrix.recorded(self._passes)

    def formula(self) -> str:
        """The name for what `passes` sums up: the schedule's if they are what it says, pass by pass."""
        if self._schedule is None or self._input is None:
            return matrix.RECORDED
        blocks = [*self._blocks, *self._open_block()]
        canvas = {} if self._schedule == matrix.BLOCK_CAUSAL else {"canvas_tokens": self._canvas}
        said = SCHEDULES[self._schedule](self._input, blocks, **canvas)
        return self._schedule if _profile(said) == _profile(self.passes() or []) else matrix.RECORDED

    def gflop(self, shape: MatrixShape | None) -> int | None:
        """Matrix operations in 10^9; None if the model's shape, or a pass's, is not known."""
        passes = self.passes()
        return None if passes is None else matrix.gflop(shape, passes)

    @property
    def _end(self) -> int | None:
        """Positions up to the end of the block."""
        return None if self._input is None or self._size is None else self._input + self._before + self._size

    def _shape_of_step(self) -> tuple[int | None, int | None]:
        if self._schedule is None or self._input is None or self._size is None:
            return None, None
        if self._schedule == matrix.BLOCK_CAUSAL:
            return self._size, self._end
        if self._canvas is None:
            return None, None
        total = self._input + self._canvas
        if self._schedule == matrix.DIFFUSION or not self._steps_on_block:
            return total, total
        return (self._size if self._schedule == matrix.DUAL_CACHE else self._canvas - self._before), total

    def _add(self, new: int | None, context: int | None, times: int) -> None:
        if times < 0 or (new is not None and new < 1) or (context is not None and context < (new or 0)):
            raise ValueError(f"{times} passes of {new} new positions over {context}: a context includes what is new")
        if new is None or context is None:
            self._shapeless += times
        elif times:
            self._passes[new, context] += times

    def _open_block(self) -> list[Block]:
        return [Block(self._size, self._steps_on_block)] if self._size is not None and self._steps_on_block else []

    def _end_block(self) -> None:
        self._blocks += self._open_block()
        self._before += self._size or 0
        self._steps_on_block = 0


def _profile(passes: list[Passes]) -> Counter[int]:
    """What tells two lists of passes apart: by new positions, how many, and their contexts."""
    profile: Counter[int] = Counter()
    for run in passes:
        profile[2 * run.new_positions] += run.times
        profile[2 * run.new_positions + 1] += run.context_sum
    return +profile
