"""What existing servers report of a parallel generation, as fields of `GenerationV1`.

Each function returns a dict to be completed with what only you know (account, region, ...):

    client.emit("acct-42", GenerationV1(**reported.mercury(response), placement="cloud"))

A server's word is taken as it stands, and nothing is derived that it does not say. Of the hosted and serving APIs below
none reports steps or forward passes: these stay absent, and `usage_fidelity` is `provider_reported`. Unknown fields are
ignored; a usage block that is missing leaves its quantities absent.

| server | what it returns | where that is written |
|---|---|---|
| Fast-dLLM | `(tokens, nfe)` of its `generate*` functions | NVlabs/Fast-dLLM, llada/generate.py |
| SGLang | `meta_info` of `/generate`; OpenAI's `usage` elsewhere | sgl-project/sglang, python/sglang/srt/dllm/ |
| vLLM | OpenAI's `usage`; settings in `DiffusionConfig` | vllm-project/vllm, vllm/config/diffusion.py |
| Mercury | OpenAI's `usage` | docs.inceptionlabs.ai; LiteLLM's provider page "Inception" |
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

from fleetmeter_schemas.events import GenerationV1
from fleetmeter_schemas.rules import PartsWithin

from fleetmeter_producers import matrix
from fleetmeter_producers.matrix import Block, MatrixShape

_logger = logging.getLogger(__name__)

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
    schedule = {"none": matrix.diffusion, "prefix": matrix.diffusion_prefix_cache, "dual": matrix.diffusion_dual_cache}
    passes = schedule[settings.cache](input_tokens, blocks)
    return fields | {"matrix_formula": _CACHES[settings.cache], "matrix_gflop": matrix.gflop(shape, passes)}


def sglang(answer: Mapping[str, Any], *, model: str, dllm_algorithm: str | None = None) -> Fields:
    """A generation by SGLang: an answer of `/generate`, or of its OpenAI-compatible endpoints.

    `dllm_algorithm` is the server's option of that name, such as LowConfidence or JointThreshold. How many steps the
    algorithm took SGLang does not tell, nor can its settings: a block stops when it is settled. `meta_info` has
    prompt_tokens, completion_tokens, cached_tokens (a part of prompt_tokens), finish_reason and e2e_latency in s.
    """
    strategy = {"decoding_strategy": _WORD.sub("_", dllm_algorithm).lower()} if dllm_algorithm else {}
    base: Fields = {"model": model, "generation_mode": "block_diffusion", **strategy}
    meta = answer.get("meta_info")
    if not isinstance(meta, Mapping):
        return {**base, **_openai(answer)}
    reason = meta.get("finish_reason")
    kind = reason.get("type") if isinstance(reason, Mapping) else reason
    latency_s = meta.get("e2e_latency")
    return _sound(
        {
            **base,
            "usage_fidelity": "provider_reported",
            "request_id": meta.get("id"),
            "input_tokens": meta.get("prompt_tokens"),
            "cache_read_input_tokens": meta.get("cached_tokens"),
            "output_tokens": meta.get("completion_tokens"),
            "finish_reason": kind,
            "status": "cancelled" if kind == "abort" else "ok",
            "latency_ms": round(latency_s * 1000) if isinstance(latency_s, int | float) else None,
        }
    )


def vllm(answer: Mapping[str, Any], *, model: str, selection_policy: str | None = None) -> Fields:
    """A generation by vLLM's OpenAI-compatible endpoints, of a block diffusion model.

    `selection_policy` is that of the server's `DiffusionConfig`: low_confidence, leftmost or confidence_threshold. Its
    canvas_length and max_denoising_steps say what a canvas may take at most; what a request took vLLM does not report.
    """
    strategy = {"decoding_strategy": selection_policy} if selection_policy else {}
    return {"model": model, "generation_mode": "block_diffusion", **strategy, **_openai(answer)}


def mercury(answer: Mapping[str, Any]) -> Fields:
    """A generation by Inception's Mercury models: an answer of `/chat/completions` or `/fim/completions`.

    The model is the one that the answer names. Tokens are reported as OpenAI does; steps are not.
    """
    return {
        "model": str(answer.get("model") or "mercury"),
        "generation_mode": "diffusion",
        "provider": "inception",
        **_openai(answer),
    }


def _openai(answer: Mapping[str, Any]) -> Fields:
    """OpenAI's answer of a chat or text completion: cached tokens are a part of the prompt's; reasoning, accepted and
    rejected prediction tokens are parts of the completion's. Details may be missing or null."""
    usage = _mapping(answer.get("usage"))
    prompt, completion = _mapping(usage.get("prompt_tokens_details")), _mapping(usage.get("completion_tokens_details"))
    choices = answer.get("choices")
    choice = _mapping(choices[0]) if isinstance(choices, list | tuple) and choices else {}
    return _sound(
        {
            "usage_fidelity": "provider_reported",
            "request_id": answer.get("id"),
            "input_tokens": usage.get("prompt_tokens"),
            "cache_read_input_tokens": prompt.get("cached_tokens"),
            "audio_input_tokens": prompt.get("audio_tokens"),
            "output_tokens": usage.get("completion_tokens"),
            "reasoning_tokens": completion.get("reasoning_tokens"),
            "audio_output_tokens": completion.get("audio_tokens"),
            "accepted_prediction_tokens": completion.get("accepted_prediction_tokens"),
            "rejected_prediction_tokens": completion.get("rejected_prediction_tokens"),
            "finish_reason": choice.get("finish_reason"),
            "status": "ok" if choice.get("finish_reason") else None,
        }
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sound(fields: Fields) -> Fields:
    """The fields that are there. Parts that don't fit their whole, or whose whole is missing, are left out: an event
    with impossible parts would be refused, and its whole, which is billed, lost with it."""
    there = {name: value for name, value in fields.items() if value is not None}
    for rule in GenerationV1.RULES:
        if isinstance(rule, PartsWithin) and _exceeds(rule, there):
            _logger.warning("the parts %s of %s don't fit, and are left out", rule.parts, rule.whole)
            there = {name: value for name, value in there.items() if name not in rule.parts}
    return there


def _exceeds(rule: PartsWithin, fields: Fields) -> bool:
    parts = [fields[part] for part in rule.parts if part in fields]
    # What is no number at all is left to the contract, which names it.
    return all(isinstance(part, int) for part in parts) and sum(parts) > fields.get(rule.whole, 0)
