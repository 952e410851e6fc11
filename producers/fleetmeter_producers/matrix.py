"""Matrix operations of a generation: one unit of work for token-by-token and parallel generation alike.

A forward pass that computes q new positions, each attending to K positions (itself and other new ones included), takes

    F(q, K) = 2 * N_active * q  +  4 * L * H * d_head * q * K   floating point operations:

a multiplication and an addition for each active weight and position, and, in each of L layers and H heads, two products
of length d_head (scores, and the weighted sum of values) for each pair of positions. The mask is not looked at: a pass
counts what a dense kernel computes. F is linear in K, so that passes are summed exactly, without a loop over tokens.

Which passes there are depends on how the server decodes. The functions below list them for the ways in use; each has a
versioned name, which goes into `matrix_formula` beside the figure. A name's meaning never changes: another schedule, or
another way to count, gets a new name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Self

from fleetmeter_schemas.catalogue import ModelEntry

AUTOREGRESSIVE: Final = "autoregressive-kv@1"
DIFFUSION: Final = "diffusion-full@1"
PREFIX_CACHE: Final = "diffusion-prefix-cache@1"
DUAL_CACHE: Final = "diffusion-dual-cache@1"
BLOCK_CAUSAL: Final = "block-causal@1"
RECORDED: Final = "recorded-passes@1"

_GIGA: Final = 10**9


class MatrixShape(NamedTuple):
    """What F depends on: active parameters, layers, attention heads, and the size of a head."""

    active_parameters: int
    layers: int
    heads: int
    head_size: int

    @classmethod
    def of(cls, entry: ModelEntry) -> Self | None:
        """The shape of a model of the catalogue; None where the maker has not published it."""
        parameters = entry.active_parameters or entry.parameters
        if parameters is None or entry.shape is None:
            return None
        return cls(parameters, entry.shape.layers, entry.shape.heads, entry.shape.head_size)


class Passes(NamedTuple):
    """A run of forward passes with the same number of new positions: how many, and their contexts, added up."""

    times: int
    new_positions: int
    context_sum: int


class Block(NamedTuple):
    """A block of output positions, and the denoising steps that were done on it; both at least 1."""

    size: int
    steps: int


def autoregressive(input_tokens: int, output_tokens: int, *, cached_tokens: int = 0) -> list[Passes]:
    """Token by token with a cache of keys and values (`autoregressive-kv@1`).

    One pass over the prompt, without what a prompt cache already held, gives the first token; each further token takes
    a pass of one position over all before it. At least the last token of the prompt is always computed.
    """
    if not (0 <= cached_tokens <= input_tokens and output_tokens >= 0):
        raise ValueError(
            f"input_tokens {input_tokens}, of which cached_tokens {cached_tokens}, and output_tokens {output_tokens}: "
            "counts are at least 0, and a part is at most its whole"
        )
    fresh = max(input_tokens - cached_tokens, min(1, input_tokens))
    prefill = Passes(1, fresh, input_tokens)
    more = max(0, output_tokens - 1)
    # The n-th further pass sees the prompt and n generated tokens: the sum of input_tokens + n over n = 1 .. more.
    return [prefill, Passes(more, 1, more * input_tokens + more * (more + 1) // 2)] if more else [prefill]


def diffusion(input_tokens: int, blocks: Sequence[Block], *, canvas_tokens: int | None = None) -> list[Passes]:
    """Denoising without any cache (`diffusion-full@1`): each step computes the prompt and the whole answer.

    `canvas_tokens` are the positions of the answer, all of which each step computes: by default those of the blocks;
    more where a generation ended before its last blocks were begun. So in the other schedules with a canvas.
    """
    total = _total(input_tokens, blocks, canvas_tokens)
    steps = sum(block.steps for block in blocks)
    return [Passes(steps, total, steps * total)]


def diffusion_prefix_cache(
    input_tokens: int, blocks: Sequence[Block], *, canvas_tokens: int | None = None
) -> list[Passes]:
    """Denoising block by block with a cache of what precedes the block (`diffusion-prefix-cache@1`).

    The first step on a block computes everything and fills the cache; further steps compute the block and what follows
    it. As Fast-dLLM does it (arXiv:2505.22618).
    """
    total = _total(input_tokens, blocks, canvas_tokens)
    passes, start = [], input_tokens
    for block in blocks:
        passes += _first_then(block, total, total - start)
        start += block.size
    return passes


def diffusion_dual_cache(
    input_tokens: int, blocks: Sequence[Block], *, canvas_tokens: int | None = None
) -> list[Passes]:
    """Denoising block by block with a cache of what precedes and what follows the block (`diffusion-dual-cache@1`).

    The first step on a block computes everything and fills the cache; further steps compute the block alone. As
    Fast-dLLM does it (arXiv:2505.22618).
    """
    total = _total(input_tokens, blocks, canvas_tokens)
    return [passes for block in blocks for passes in _first_then(block, total, block.size)]


def block_causal(input_tokens: int, blocks: Sequence[Block]) -> list[Passes]:
    """Block diffusion with causal attention between blocks (`block-causal@1`).

    One pass over the prompt; for each block its steps, over the prompt and the blocks up to it; and for each block but
    the last one more pass, which writes the finished block's keys and values into the cache. As in block diffusion
    (arXiv:2503.09573) and Fast-dLLM v2 (arXiv:2509.26328).
    """
    _total(input_tokens, blocks)
    passes, end = [Passes(1, input_tokens, input_tokens)], input_tokens
    for index, block in enumerate(blocks):
        end += block.size
        times = block.steps + (index < len(blocks) - 1)
        passes.append(Passes(times, block.size, times * end))
    return passes


def recorded(passes: Mapping[tuple[int, int], int]) -> list[Passes]:
    """Passes as a server recorded them (`recorded-passes@1`): (new positions, context of each) -> how many times.

    For servers whose passes are none of the schedules above; nothing is assumed.
    """
    return [Passes(times, new, times * context) for (new, context), times in passes.items()]


def function_evaluations(passes: Iterable[Passes]) -> int:
    """How many forward passes there were (NFE), the prompt's included."""
    return sum(run.times for run in passes)


def flop(shape: MatrixShape, passes: Iterable[Passes]) -> int:
    """Floating point operations of the passes, exactly."""
    weights = 2 * shape.active_parameters
    attention = 4 * shape.layers * shape.heads * shape.head_size
    return sum(run.new_positions * (weights * run.times + attention * run.context_sum) for run in passes)


def gflop(shape: MatrixShape | None, passes: Iterable[Passes]) -> int | None:
    """Operations of the passes in 10^9, for `matrix_gflop`; None where the shape is not known.

    Rounded once, over the whole generation, to the nearest whole number, halves up.
    """
    return None if shape is None else (flop(shape, passes) + _GIGA // 2) // _GIGA


def _first_then(block: Block, total: int, fewer: int) -> list[Passes]:
    """The first step on a block computes everything, the others `fewer` positions."""
    return [Passes(1, total, total), Passes(block.steps - 1, fewer, (block.steps - 1) * total)]


def _total(input_tokens: int, blocks: Sequence[Block], canvas_tokens: int | None = None) -> int:
    if input_tokens < 0:
        raise ValueError(f"input_tokens is {input_tokens}; counts are at least 0")
    for number, block in enumerate(blocks):
        if block.size < 1 or block.steps < 1:
            raise ValueError(
                f"block {number} has size {block.size} and {block.steps} steps; leave out what was not done"
            )
    done = sum(block.size for block in blocks)
    if canvas_tokens is not None and canvas_tokens < done:
        raise ValueError(f"canvas_tokens is {canvas_tokens}; the blocks that were done have {done} positions")
    return input_tokens + (done if canvas_tokens is None else canvas_tokens)
