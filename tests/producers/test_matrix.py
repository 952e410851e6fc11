"""Matrix operations against sums done by hand, and pass by pass."""

import pytest
from fleetmeter_producers import matrix
from fleetmeter_producers.matrix import Block, MatrixShape
from fleetmeter_schemas import load_catalogue
from hypothesis import given
from hypothesis import strategies as st

# A model small enough to do by hand: 1,000 weights, 2 layers, 3 heads of size 5. So 2 * N = 2,000 operations a new
# position, and 4 * 2 * 3 * 5 = 120 a pair of positions.
SMALL = MatrixShape(active_parameters=1_000, layers=2, heads=3, head_size=5)

counts = st.integers(1, 40)
blocks_of = st.lists(st.builds(Block, st.integers(1, 12), st.integers(1, 9)), min_size=1, max_size=6)


def f(new: int, context: int) -> int:
    """F(q, K) for SMALL, as the design writes it."""
    return 2_000 * new + 120 * new * context


def test_autoregressive_by_hand() -> None:
    # A prompt of 4, three tokens: the prompt, then one position over 5, then one over 6.
    #   2000 * 4 + 120 * 4 * 4 = 9,920;   2000 + 120 * 5 = 2,600;   2000 + 120 * 6 = 2,720
    passes = matrix.autoregressive(4, 3)
    assert matrix.flop(SMALL, passes) == 9_920 + 2_600 + 2_720
    assert matrix.function_evaluations(passes) == 3


def test_a_cached_prompt_is_attended_to_but_not_computed() -> None:
    # Three of four prompt tokens cached: one new position over 4: 2000 + 120 * 4 = 2,480.
    assert matrix.flop(SMALL, matrix.autoregressive(4, 1, cached_tokens=3)) == 2_480


def test_a_wholly_cached_prompt_still_takes_its_last_token() -> None:
    assert matrix.flop(SMALL, matrix.autoregressive(4, 1, cached_tokens=4)) == 2_480


def test_diffusion_without_cache_by_hand() -> None:
    # A prompt of 4 and 6 tokens in 3 steps, each over all 10 positions: 2000 * 10 + 120 * 10 * 10 = 32,000 a step.
    passes = matrix.diffusion(4, [Block(6, 3)])
    assert matrix.flop(SMALL, passes) == 3 * 32_000
    assert matrix.function_evaluations(passes) == 3


def test_prefix_cache_by_hand() -> None:
    # A prompt of 4, two blocks of 3 in 2 steps each. First steps: all 10, 32,000. Second steps: the first block and
    # what follows it, 6 over 10: 12,000 + 7,200 = 19,200; the second block, 3 over 10: 6,000 + 3,600 = 9,600.
    passes = matrix.diffusion_prefix_cache(4, [Block(3, 2), Block(3, 2)])
    assert matrix.flop(SMALL, passes) == 2 * 32_000 + 19_200 + 9_600
    assert matrix.function_evaluations(passes) == 4


def test_dual_cache_by_hand() -> None:
    # As above, but both second steps compute their block alone: 9,600 each.
    passes = matrix.diffusion_dual_cache(4, [Block(3, 2), Block(3, 2)])
    assert matrix.flop(SMALL, passes) == 2 * 32_000 + 2 * 9_600
    assert matrix.function_evaluations(passes) == 4


def test_block_causal_by_hand() -> None:
    # The prompt: 4 over 4, 9,920. The first block: 3 over 7, twice and once more for its cache: 6,000 + 2,520 = 8,520.
    # The second: 3 over 10, twice: 9,600.
    passes = matrix.block_causal(4, [Block(3, 2), Block(3, 2)])
    assert matrix.flop(SMALL, passes) == 9_920 + 3 * 8_520 + 2 * 9_600
    assert matrix.function_evaluations(passes) == 1 + 3 + 2


@given(st.integers(0, 60), st.integers(0, 60), st.data())
def test_autoregressive_pass_by_pass(prompt: int, output: int, data: st.DataObject) -> None:
    cached = data.draw(st.integers(0, prompt))
    new = prompt - cached if cached < prompt or prompt == 0 else 1
    total, evaluations, seen = f(new, prompt), 1, prompt
    for _ in range(1, output):
        seen += 1
        total += f(1, seen)
        evaluations += 1
    passes = matrix.autoregressive(prompt, output, cached_tokens=cached)
    assert matrix.flop(SMALL, passes) == total
    assert matrix.function_evaluations(passes) == evaluations


@given(counts, blocks_of)
def test_denoising_step_by_step(prompt: int, blocks: list[Block]) -> None:
    end = prompt + sum(size for size, _ in blocks)
    full = prefix = dual = causal = evaluations = 0
    start = prompt
    for size, steps in blocks:
        for step in range(steps):
            evaluations += 1
            full += f(end, end)
            prefix += f(end, end) if step == 0 else f(end - start, end)
            dual += f(end, end) if step == 0 else f(size, end)
            causal += f(size, start + size)
        start += size
        if start < end:
            causal += f(size, start)
    causal += f(prompt, prompt)
    assert matrix.flop(SMALL, matrix.diffusion(prompt, blocks)) == full
    assert matrix.flop(SMALL, matrix.diffusion_prefix_cache(prompt, blocks)) == prefix
    assert matrix.flop(SMALL, matrix.diffusion_dual_cache(prompt, blocks)) == dual
    assert matrix.flop(SMALL, matrix.block_causal(prompt, blocks)) == causal
    for schedule in (matrix.diffusion, matrix.diffusion_prefix_cache, matrix.diffusion_dual_cache):
        assert matrix.function_evaluations(schedule(prompt, blocks)) == evaluations
    assert matrix.function_evaluations(matrix.block_causal(prompt, blocks)) == evaluations + len(blocks)


def test_a_published_model_by_hand() -> None:
    # LLaDA 8B: 8,015,581,184 parameters, 32 layers, 32 heads of 128. 100 + 28 tokens in 10 steps without a cache:
    #   10 * (2 * 8,015,581,184 * 128 + 4 * 32 * 32 * 128 * 128 * 128)
    #   = 10 * (2,051,988,783,104 + 8,589,934,592) = 20,605,787,176,960, that is 20,606 * 10^9.
    entry = load_catalogue().find("llada-8b-instruct")
    assert entry is not None
    passes = matrix.diffusion(100, [Block(28, 10)])
    shape = MatrixShape.of(entry)
    assert shape is not None
    assert matrix.flop(shape, passes) == 20_605_787_176_960
    assert matrix.gflop(shape, passes) == 20_606


def test_active_parameters_count_and_an_unpublished_shape_gives_nothing() -> None:
    entry = load_catalogue().find("llada2.0-mini")
    assert entry is not None
    assert entry.shape is None
    assert MatrixShape.of(entry) is None
    assert matrix.gflop(None, matrix.autoregressive(4, 3)) is None
    dense = load_catalogue().find("phi-4")
    assert dense is not None
    sparse = dense.model_copy(update={"active_parameters": 7})
    assert (MatrixShape.of(dense) or SMALL).active_parameters == dense.parameters
    assert (MatrixShape.of(sparse) or SMALL).active_parameters == 7


@pytest.mark.parametrize(
    ("operations", "expected"), [(0, 0), (499_999_998, 0), (500_000_000, 1), (1_499_999_998, 1), (1_500_000_000, 2)]
)
def test_rounding_to_gflop_is_to_the_nearest_halves_up(operations: int, expected: int) -> None:
    # One new position that attends to nothing: 2 * N operations.
    passes = [matrix.Passes(1, 1, 0)]
    assert matrix.gflop(MatrixShape(operations // 2, 1, 1, 1), passes) == expected


@pytest.mark.parametrize(("prompt", "output", "cached"), [(-1, 0, 0), (3, -1, 0), (3, 1, 4), (3, 1, -1)])
def test_impossible_counts_are_refused(prompt: int, output: int, cached: int) -> None:
    with pytest.raises(ValueError, match="a part is at most its whole"):
        matrix.autoregressive(prompt, output, cached_tokens=cached)


def test_impossible_blocks_are_refused_by_number() -> None:
    with pytest.raises(ValueError, match="block 1 has size 3 and 0 steps"):
        matrix.block_causal(4, [Block(3, 1), Block(3, 0)])
    with pytest.raises(ValueError, match="input_tokens is -4"):
        matrix.diffusion(-4, [Block(3, 1)])
