"""The formulas against a real transformer that decodes by each schedule, and counts its multiply-adds as it goes.

One multiply-add is two floating point operations. The decoding loops are those of the servers, with real caches: the
number of steps comes out of the model's confidence, and reaches the formula through the meter's callbacks.
"""

from collections.abc import Callable

import numpy as np
import pytest
from fleetmeter_doubles.tiny_transformer import MASK, TinyTransformer, cut, settle
from fleetmeter_producers import matrix
from fleetmeter_producers.diffusion.work import Work
from fleetmeter_producers.matrix import Block, MatrixShape

PROMPT = [3, 9, 4, 4, 12, 7, 1]
BLOCKS = [6, 4, 5]
THRESHOLD = 0.45


def shape_of(model: TinyTransformer) -> MatrixShape:
    return MatrixShape(model.multiplied_weights, model.layers, model.heads, model.head_size)


def masked(tokens: list[int], begin: int, size: int) -> bool:
    return MASK in tokens[begin : begin + size]


def without_cache(model: TinyTransformer, work: Work) -> None:
    tokens, begin = [*PROMPT, *[MASK] * sum(BLOCKS)], len(PROMPT)
    for size in BLOCKS:
        work.begin_block(size)
        while masked(tokens, begin, size):
            logits, _ = model(tokens)
            settle(tokens, begin, begin + size, logits[begin : begin + size], threshold=THRESHOLD)
            work.step(None, None, 1)
        begin += size


def with_prefix_cache(model: TinyTransformer, work: Work) -> None:
    tokens, begin = [*PROMPT, *[MASK] * sum(BLOCKS)], len(PROMPT)
    for size in BLOCKS:
        work.begin_block(size)
        logits, cache = model(tokens)
        cache = cut(cache, begin)
        settle(tokens, begin, begin + size, logits[begin : begin + size], threshold=THRESHOLD)
        work.step(None, None, 1)
        while masked(tokens, begin, size):
            logits, _ = model(tokens[begin:], begin, cache)
            settle(tokens, begin, begin + size, logits[:size], threshold=THRESHOLD)
            work.step(None, None, 1)
        begin += size


def with_dual_cache(model: TinyTransformer, work: Work) -> None:
    tokens, begin = [*PROMPT, *[MASK] * sum(BLOCKS)], len(PROMPT)
    for size in BLOCKS:
        work.begin_block(size)
        end = begin + size
        logits, cache = model(tokens)
        cache = cut(cache, begin, end)
        settle(tokens, begin, end, logits[begin:end], threshold=THRESHOLD)
        work.step(None, None, 1)
        while masked(tokens, begin, size):
            logits, _ = model(tokens[begin:end], begin, cache, after=len(tokens) - end)
            settle(tokens, begin, end, logits, threshold=THRESHOLD)
            work.step(None, None, 1)
        begin = end


def block_causally(model: TinyTransformer, work: Work) -> None:
    _, cache = model(PROMPT)
    work.prefill(None, 1)
    begin = len(PROMPT)
    for number, size in enumerate(BLOCKS):
        work.begin_block(size)
        block = [MASK] * size
        while masked(block, 0, size):
            logits, _ = model(block, begin, cache)
            settle(block, 0, size, logits, threshold=THRESHOLD)
            work.step(None, None, 1)
        if number < len(BLOCKS) - 1:
            _, cache = model(block, begin, cache)
            work.write_cache()
        begin += size


CASES: list[tuple[str, Callable[[TinyTransformer, Work], None]]] = [
    (matrix.DIFFUSION, without_cache),
    (matrix.PREFIX_CACHE, with_prefix_cache),
    (matrix.DUAL_CACHE, with_dual_cache),
    (matrix.BLOCK_CAUSAL, block_causally),
]


@pytest.mark.parametrize(("formula", "decode"), CASES, ids=[formula for formula, _ in CASES])
@pytest.mark.parametrize("seed", range(5))
def test_parallel_generation(formula: str, decode: Callable[[TinyTransformer, Work], None], seed: int) -> None:
    model = TinyTransformer(seed=seed)
    work = Work(formula, len(PROMPT), None if formula == matrix.BLOCK_CAUSAL else sum(BLOCKS))
    decode(model, work)
    passes = work.passes()
    assert passes is not None
    assert matrix.flop(shape_of(model), passes) == 2 * model.multiply_adds
    assert work.evaluations == model.calls
    assert work.blocks == len(BLOCKS)
    assert work.formula() == formula
    steps = work.steps or 0
    assert len(BLOCKS) < steps < sum(BLOCKS), "the model's confidence neither decided all at once nor one by one"


@pytest.mark.parametrize("cached", [0, 3, len(PROMPT)])
def test_token_by_token(cached: int) -> None:
    model, fresh = TinyTransformer(), TinyTransformer()
    tokens, cache = list(PROMPT), None
    known = min(cached, len(PROMPT) - 1)  # the last token is computed anew, or there is nothing to go on from
    if known:
        _, cache = fresh(PROMPT[:known], causal=True)
    logits, cache = model(PROMPT[known:], known, cache, causal=True)
    tokens.append(int(logits[-1].argmax()))
    for _ in range(8):
        logits, cache = model(tokens[-1:], len(tokens) - 1, cache, causal=True)
        tokens.append(int(logits[-1].argmax()))
    passes = matrix.autoregressive(len(PROMPT), 9, cached_tokens=cached)
    assert matrix.flop(shape_of(model), passes) == 2 * model.multiply_adds
    assert matrix.function_evaluations(passes) == model.calls


def test_the_caches_of_the_transformer_are_real() -> None:
    """What a cache gives is what computing everything gives, where theory says so: else the counts mean little."""
    model, tokens = TinyTransformer(), [5, 2, 8, 8, 1, 13]
    whole, _ = model(tokens, causal=True)
    _, cache = model(tokens[:4], causal=True)
    rest, _ = model(tokens[4:], 4, cache, causal=True)
    np.testing.assert_allclose(rest, whole[4:])
    all_at_once, cache = model(tokens)
    again, _ = model(tokens[2:4], 2, cut(cache, 2, 4), after=2)
    np.testing.assert_allclose(again, all_at_once[2:4])


def test_a_generation_that_ends_early_still_computed_the_whole_canvas() -> None:
    """The server left after the first of three blocks: its passes computed all masks of the canvas nevertheless."""
    model = TinyTransformer()
    tokens, begin, size = [*PROMPT, *[MASK] * 15], len(PROMPT), 6
    work = Work(matrix.DIFFUSION, begin, 15)
    work.begin_block(size)
    while masked(tokens, begin, size):
        logits, _ = model(tokens)
        settle(tokens, begin, begin + size, logits[begin : begin + size], threshold=THRESHOLD)
        work.step(None, None, 1)
    said = matrix.diffusion(begin, [Block(size, work.steps or 0)], canvas_tokens=15)
    assert matrix.flop(shape_of(model), said) == 2 * model.multiply_adds
    assert work.formula() == matrix.DIFFUSION
