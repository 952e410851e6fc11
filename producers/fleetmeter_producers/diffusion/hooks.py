"""Counting the forward passes of a torch module, without touching the code that calls it.

Built on `torch.nn.Module.register_forward_hook`, whose hook gets (module, args, kwargs, output) after each call of the
module, in the thread that made it. torch itself is not imported: what has that method will do.

A hook does not see what does not go through the module's `__call__`: the replay of a CUDA graph, or a hook that was put
on a module after `torch.compile` traced it. A run that saw no pass says nothing about passes, rather than 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from fleetmeter_producers.diffusion.run import DiffusionRun

Report = Callable[[DiffusionRun, tuple[Any, ...], Mapping[str, Any], Any], None]
"""Tells a run what a pass was: (run, args, kwargs, output)."""


class RemovableHandle(Protocol):
    """What a registration gives back."""

    def remove(self) -> None:
        """Undo it."""
        ...


class HookedModule(Protocol):
    """What is asked of a module; `torch.nn.Module` has it."""

    def register_forward_hook(self, hook: Callable[..., Any], *, with_kwargs: bool = False) -> RemovableHandle:
        """Call the hook after each forward pass."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """A `counting_passes` block that is open."""

    module: object


# The open blocks of the thread or task that calls a module: other requests may call the same one at the same time.
_open_blocks: ContextVar[tuple[_Block, ...]] = ContextVar("_open_blocks", default=())


def each_is_a_step(run: DiffusionRun, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:  # noqa: ARG001
    """Each pass is a denoising step, as in the sampling loops of LLaDA, Dream and Fast-dLLM."""
    run.step()


def each_is_a_pass(run: DiffusionRun, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:  # noqa: ARG001
    """Passes are counted here, and steps by the loop, with `run.step(passes=0)`."""
    run.forward_pass()


@contextmanager
def counting_passes(
    module: HookedModule, runs: DiffusionRun | Iterable[DiffusionRun], report: Report = each_is_a_step
) -> Iterator[None]:
    """Within the block, each forward pass of the module that this thread or task makes counts for each of the runs.

    `runs`: the requests that share the batch. `report` says what a pass was; it may look at the arguments, such as
    `kwargs["input_ids"].shape`, for its shape.

    A pass that somebody makes without a block of their own while this one is open can't be attributed: the runs' counts
    are then lost, with a warning, because absent is better than wrong. (A generator that a thread pool resumes does
    that; count within it, by `DiffusionRun.step`.) Raises `TypeError` if the module takes no forward hooks.
    """
    if not callable(getattr(module, "register_forward_hook", None)):
        raise TypeError(f"{type(module).__name__} has no register_forward_hook; give the torch module that is called")
    block = _Block(module)
    shared = (runs,) if isinstance(runs, DiffusionRun) else tuple(runs)

    def hook(_module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
        here = _open_blocks.get()
        if block in here:
            for run in shared:
                report(run, args, kwargs, output)
        elif not any(other.module is module for other in here):
            for run in shared:
                run.lose_count("a forward pass was made outside of the block that counts them")

    reset = _open_blocks.set((*_open_blocks.get(), block))
    handle = module.register_forward_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
        with suppress(ValueError):  # a generator that is closed from elsewhere: there, nothing was set
            _open_blocks.reset(reset)
