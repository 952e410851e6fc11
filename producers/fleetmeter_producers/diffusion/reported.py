"""What existing servers report of a parallel generation, as fields of `GenerationV1`.

Each function returns a dict to be completed with what only you know (account, region, ...):

    client.emit("acct-42", GenerationV1(**reported.mercury(response), placement="cloud"))

A server's word is taken as it stands, and nothing is derived that it does not say. Of the hosted and serving APIs below
none reports steps or forward passes: these stay absent, and `usage_fidelity` is `provider_reported`. Unknown fields are
ignored; a usage block that is missing leaves its quantities absent. Tokens are read as for any other provider
(`fleetmeter_producers.gateway.read_usage`); what is added here is how the text came about.

| server | what it returns | where that is written |
|---|---|---|
| Fast-dLLM | `(tokens, nfe)` of its `generate*` functions | NVlabs/Fast-dLLM, llada/generate.py |
| SGLang | `meta_info` of `/generate`; OpenAI's `usage` elsewhere | sgl-project/sglang, python/sglang/srt/dllm/ |
| vLLM | OpenAI's `usage`; settings in `DiffusionConfig` | vllm-project/vllm, vllm/config/diffusion.py |
| Mercury | OpenAI's `usage` | docs.inceptionlabs.ai; LiteLLM's provider page "Inception" |
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

from fleetmeter_producers import matrix
from fleetmeter_producers.diffusion.work import SCHEDULES
from fleetmeter_producers.gateway import read_usage
from fleetmeter_producers.matrix import Block, MatrixShape

Fields = dict[str, Any]
FastDllmCache = Literal["none", "prefix", "dual"]

_CACHES: Final[Mapping[FastDllmCache, str]] = MappingProxyType(
    {"none": matrix.DIFFUSION, "prefix": matrix.PREFIX_CACHE, "dual": matrix.DUAL_CACHE}
)
_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class FastDllmSettings:
    """The arguments of a Fast-dLLM `generate*` function that its work depends on; `cache` says which function it was:
    `generate`, `generate_with_prefix_cache` or `generate_with_dual_cache`."""

    gen_length: int
    block_length: int
    steps: int
    threshold: float | None = None
    remasking: str = "low_confidence"
    cache: FastDllmCache = "none"

    def __post_init__(self) -> None:
        if self.block_length < 1 or self.gen_length < 1 or self.gen_length % self.block_length:
            raise ValueError(f"gen_length {self.gen_length} must be a multiple of block_length {self.block_length}")

    @property
    def blocks(self) -> int:
        """Blocks that are generated in turn; Fast-dLLM does all of them, whatever the text."""
        return self.gen_length // self.block_length

    @property
    def most_steps(self) -> int:
        """Steps that the schedule allows: with a threshold, `steps` is not looked at, and each step settles a token."""
        return self.steps if self.threshold is None else max(self.gen_length, self.fewest_steps)

    @property
    def fewest_steps(self) -> int:
        """Steps that it does at least."""
        # With a cache, the loop does a step after the one that fills it, even on a block that is settled already.
        return self.blocks * (1 if self.cache == "none" else 2)


def fast_dllm(
    nfe: int,
    settings: FastDllmSettings,
    *,
    model: str,
    input_tokens: int,
    output_tokens: int,
    shape: MatrixShape | None = None,
) -> Fields:
    """A generation by one of Fast-dLLM's functions for LLaDA, of one sequence.

    `nfe` is what it returns beside the tokens: forward passes, each of which is a denoising step. `output_tokens` is
    your count of the answer without end-of-text padding. `shape` (`MatrixShape.of` the model) gives matrix operations,
    where `nfe` determines them: without cache and with the dual cache, whose passes cost the same on each block; with a
    prefix cache only if there is one block.

    Raises `ValueError` for an `nfe` that these settings can't give.
    """
    fewest, most = settings.fewest_steps, settings.most_steps
    if not fewest <= nfe <= most:
        raise ValueError(f"nfe is {nfe}; with {settings} there are from {fewest} to {most} forward passes")
    fields: Fields = {
        "model": model,
        "generation_mode": "diffusion",
        "decoding_strategy": settings.remasking if settings.threshold is None else "confidence_threshold",
        "usage_fidelity": "measured",
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "denoising_steps": nfe,
        "max_denoising_steps": settings.most_steps,
        "function_evaluations": nfe,
        "blocks": settings.blocks,
    }
    if shape is None or (settings.cache == "prefix" and settings.blocks > 1):
        return fields
    size, others = settings.block_length, settings.blocks - 1
    # How the steps are spread over the blocks makes no difference to the sum, in the cases that come here.
    blocks = [*[Block(size, 1)] * others, Block(size, nfe - others)]
    formula = _CACHES[settings.cache]
    passes = SCHEDULES[formula](input_tokens, blocks)
    return fields | {"matrix_formula": formula, "matrix_gflop": matrix.gflop(shape, passes)}


def sglang(answer: Mapping[str, Any], *, model: str, dllm_algorithm: str | None = None) -> Fields:
    """A generation by SGLang: an answer of `/generate`, or of its OpenAI-compatible endpoints.

    `dllm_algorithm` is the server's option of that name, such as LowConfidence or JointThreshold. How many steps the
    algorithm took SGLang does not tell, nor can its settings: a block stops when it is settled.
    """
    strategy = {"decoding_strategy": _WORD.sub("_", dllm_algorithm).lower()} if dllm_algorithm else {}
    return read_usage("sglang", answer).fields | {"model": model, "generation_mode": "block_diffusion"} | strategy


def vllm(answer: Mapping[str, Any], *, model: str, selection_policy: str | None = None) -> Fields:
    """A generation by vLLM's OpenAI-compatible endpoints, of a block diffusion model.

    `selection_policy` is that of the server's `DiffusionConfig`: low_confidence, leftmost or confidence_threshold. Its
    canvas_length and max_denoising_steps say what a canvas may take at most; what a request took vLLM does not report.
    """
    strategy = {"decoding_strategy": selection_policy} if selection_policy else {}
    return read_usage("vllm", answer).fields | {"model": model, "generation_mode": "block_diffusion"} | strategy


def mercury(answer: Mapping[str, Any]) -> Fields:
    """A generation by Inception's Mercury models: an answer of `/chat/completions` or `/fim/completions`.

    The model is the one that the answer names. Tokens are reported as OpenAI does; steps are not.
    """
    return {"model": "mercury", **read_usage("mercury", answer).fields, "generation_mode": "diffusion"}
