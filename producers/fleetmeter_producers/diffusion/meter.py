"""Metering a diffusion server of your own, whose decoding loop you can reach.

    meter = DiffusionMeter(client, model="llada-8b-instruct", schedule=matrix.DUAL_CACHE, region="eu-1")
    with meter.generation("acct-42", input_tokens=512, canvas_tokens=256) as run:
        for block in blocks:
            run.begin_block(32)
            while masked(block):
                unmask(model(tokens))
                run.step()
        run.finish(output_tokens=231, finish_reason="stop")

It counts what happened, not what was configured: a step that a confidence threshold saved is not there. What nobody
told it stays absent, which is not zero.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from fleetmeter_schemas.catalogue import ModelEntry, load_catalogue
from fleetmeter_schemas.envelope import parse_data
from fleetmeter_schemas.events import GenerationMode, GenerationV1

from fleetmeter_producers import matrix
from fleetmeter_producers.diffusion.run import DiffusionRun
from fleetmeter_producers.diffusion.work import SCHEDULES, Work
from fleetmeter_producers.emitter import Emitter
from fleetmeter_producers.matrix import MatrixShape

_CANVAS_SCHEDULES: Final = frozenset({matrix.DIFFUSION, matrix.PREFIX_CACHE, matrix.DUAL_CACHE})


class DiffusionMeter:
    """Makes one event of each generation of one model. Thread-safe; the runs it gives are not.

    `schedule` is one of the names of `matrix` for parallel generation: which positions a pass computes. Without it, or
    where neither the catalogue nor `shape` tells the model's shape, there are no matrix operations. `dimensions` are
    fields of `GenerationV1` that all generations share.

    Raises `ValueError` for a schedule that is none, a model that the catalogue does not have, if `generation_mode` was
    not given, or an autoregressive one; `EventRejected` for a dimension that the contract does not allow.
    """

    def __init__(
        self,
        client: Emitter,
        *,
        model: str,
        generation_mode: GenerationMode | None = None,
        schedule: str | None = None,
        shape: MatrixShape | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        **dimensions: Any,
    ) -> None:
        if schedule is not None and schedule not in SCHEDULES:
            raise ValueError(f"schedule is {schedule!r}; it must be one of {', '.join(SCHEDULES)}")
        entry = load_catalogue().find(model)
        mode = generation_mode or _mode_of(entry, model)
        if mode == "autoregressive":
            raise ValueError(f"{model} generates token by token: it has no denoising steps to count")
        self._client, self._schedule, self._clock_ns = client, schedule, clock_ns
        self._shape = shape or (None if entry is None else MatrixShape.of(entry))
        self._constant: dict[str, Any] = {
            "model": model,
            "generation_mode": mode,
            "usage_fidelity": "measured",
            **dimensions,
        }
        parse_data(GenerationV1, self._constant)  # a bad dimension is found here, and not in a request

    def generation(
        self,
        account: str,
        *,
        input_tokens: int | None = None,
        canvas_tokens: int | None = None,
        max_denoising_steps: int | None = None,
        **fields: Any,
    ) -> DiffusionRun:
        """A generation begins, for the account that pays; its latency counts from here.

        `canvas_tokens`: positions of the answer that the server computes together, masks included; a schedule with a
        canvas needs them, and raises `ValueError` without. `max_denoising_steps`: what the schedule allows; more steps
        than that were never done. `fields` are further ones of `GenerationV1`, such as the part of the prompt that a
        cache held.
        """
        if self._schedule in _CANVAS_SCHEDULES and (canvas_tokens is None or input_tokens is None):
            raise ValueError(f"{self._schedule} computes prompt and answer: name input_tokens and canvas_tokens")
        work = Work(self._schedule, input_tokens, canvas_tokens)

        def emit(counted: dict[str, Any]) -> str:
            data = {
                **self._constant,
                "input_tokens": input_tokens,
                **self._operations(work),
                **fields,
                **counted,
            }
            return self._client.emit(account, parse_data(GenerationV1, data))

        return DiffusionRun(work, emit, self._clock_ns, max_denoising_steps)

    def _operations(self, work: Work) -> dict[str, Any]:
        gflop = work.gflop(self._shape)
        return {} if gflop is None else {"matrix_formula": work.formula(), "matrix_gflop": gflop}


def _mode_of(entry: ModelEntry | None, model: str) -> GenerationMode:
    if entry is None:
        raise ValueError(f"{model} is not in the model catalogue: name its generation_mode")
    return entry.generation_mode
