"""OpenAI's chat completions, and the servers that speak it: Mercury, vLLM, gateways of all kinds.

Cached tokens are a part of prompt_tokens; reasoning, audio and both kinds of prediction tokens are parts of
completion_tokens. Some who use these names mean something else (xAI's completion_tokens lack the reasoning): where
total_tokens proves that, it is believed.
"""

from __future__ import annotations

from typing import Any, Final

from fleetmeter_producers.gateway.answer import Answer, service_tier
from fleetmeter_producers.gateway.block import Block
from fleetmeter_producers.gateway.convention import Convention
from fleetmeter_producers.gateway.notes import NoteCode

_USAGE_NAMES: Final = ("prompt_tokens", "completion_tokens", "total_tokens")
INCLUDED: Final = "last chunk, if stream_options.include_usage is set"


def digest(answer: Block) -> Answer:
    """A chat or text completion, a chunk of one, or a bare usage block."""
    found = Answer()
    if answer.has("usage"):
        usage = answer.raw("usage")
        if answer.part("usage").has(*_USAGE_NAMES):
            found.usage = dict(usage)
    elif answer.has(*_USAGE_NAMES):
        found.usage = {name: answer.raw(name) for name in (*_USAGE_NAMES, *_DETAILS) if answer.has(name)}
    found.learn(
        model=answer.text("model"),
        request_id=answer.text("id"),
        service_tier=service_tier(answer.text("service_tier")),
    )
    for choice in answer.items("choices"):
        reason = choice.text("finish_reason")
        if reason:
            found.learn(finish_reason=reason, status="ok")
        index = choice.quantity("index")
        found.say(choice.raw("text"))
        for body in (choice.part("message"), choice.part("delta")):
            found.say(body.raw("reasoning_content", "reasoning"), body.raw("content"))
            for position, call in enumerate(body.items("tool_calls")):
                named = call.quantity("index")
                found.tool_calls.add((index, position if named is None else named))
    return found


def read(usage: Block) -> dict[str, Any]:
    """The measures of a usage block."""
    prompt = usage.part("prompt_tokens_details")
    completion = usage.part("completion_tokens_details")
    cached = prompt.quantity("cached_tokens")
    if cached is None:
        cached = usage.quantity("cached_tokens", "prompt_cache_hit_tokens", "cached_input_tokens")
    reasoning = completion.quantity("reasoning_tokens")
    if reasoning is None:
        reasoning = usage.quantity("reasoning_tokens")
    short, long = cache_writes(prompt)
    input_tokens, output_tokens = wholes(
        usage,
        usage.quantity("prompt_tokens"),
        usage.quantity("completion_tokens"),
        cached=(cached or 0) + (short or 0) + (long or 0),
        reasoning=reasoning or 0,
    )
    return {
        "input_tokens": input_tokens,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens_5m": short,
        "cache_creation_input_tokens_1h": long,
        "audio_input_tokens": prompt.quantity("audio_tokens"),
        "image_input_tokens": prompt.quantity("image_tokens"),
        "output_tokens": output_tokens,
        "reasoning_tokens": reasoning,
        "audio_output_tokens": completion.quantity("audio_tokens"),
        "image_output_tokens": completion.quantity("image_tokens"),
        "accepted_prediction_tokens": completion.quantity("accepted_prediction_tokens"),
        "rejected_prediction_tokens": completion.quantity("rejected_prediction_tokens"),
    }


def cache_writes(prompt: Block) -> tuple[int | None, int | None]:
    """Tokens written to a short-lived and to a long-lived cache.

    The contract has two lifetimes, 5 minutes and 1 hour, as Anthropic sells them. OpenAI's are 30 minutes and 12 hours:
    its shorter one stands where the shorter one stands. Where no lifetime is told, it is the shorter one, the default
    of all who have two.
    """
    written = prompt.quantity("cache_write_tokens", "cache_creation_tokens")
    # OpenAI's details, and what LiteLLM makes of Anthropic's.
    details = prompt.part("cache_write_tokens_details", "cache_creation_token_details")
    short = details.quantity("ttl_30m_tokens", "ephemeral_5m_input_tokens")
    long = details.quantity("ttl_12h_tokens", "ephemeral_1h_input_tokens")
    return split_writes(details, written, short, long)


def split_writes(
    block: Block, written: int | None, short: int | None, long: int | None
) -> tuple[int | None, int | None]:
    """What was written by lifetime, from a sum and a breakdown, either of which may be missing. The sum stands."""
    if written is None or (short or 0) + (long or 0) == written:
        return short, long
    if short is None and long is None:
        return written, None
    block.note(
        NoteCode.TOTAL_DIFFERS, "cache_write_tokens", f"sum is {written}, by lifetime {short} and {long}: the sum holds"
    )
    longer = min(long or 0, written)
    return written - longer, longer


def wholes(
    usage: Block, input_tokens: int | None, output_tokens: int | None, *, cached: int, reasoning: int
) -> tuple[int | None, int | None]:
    """Input and output tokens with all their parts: as they stand, or with what stands beside them, if total_tokens
    agrees with that and not with this."""
    total = usage.quantity("total_tokens")
    if input_tokens is None or output_tokens is None or total is None or total == input_tokens + output_tokens:
        return input_tokens, output_tokens
    for more_input, more_output in ((0, reasoning), (cached, 0), (cached, reasoning)):
        if input_tokens + more_input + output_tokens + more_output == total:
            return input_tokens + more_input, output_tokens + more_output
    usage.note(
        NoteCode.TOTAL_DIFFERS,
        "total_tokens",
        f"is {total}, but input is {input_tokens} and output {output_tokens}: the parts hold",
    )
    return input_tokens, output_tokens


_DETAILS: Final = (
    "prompt_tokens_details",
    "completion_tokens_details",
    "cached_tokens",
    "prompt_cache_hit_tokens",
    "cached_input_tokens",
    "reasoning_tokens",
)

OPENAI_CHAT: Final = Convention(
    name="openai-chat",
    title="OpenAI chat completions",
    provider="",
    cached="part of prompt_tokens; also DeepSeek's prompt_cache_hit_tokens; beside it if only that gives total_tokens",
    reasoning="part of completion_tokens, as audio and rejected prediction tokens are; beside it (xAI) if only that "
    "gives total_tokens",
    stream=INCLUDED,
    sources=(
        'openai-python, types/completion_usage.py (rejected ones "are still counted in the total completion tokens")',
        "xAI: vercel/ai#12425, with xAI's documentation and real figures; DeepSeek: browser-use/browser-use#5684",
    ),
    digest=digest,
    read=read,
)
MERCURY: Final = Convention(
    name="mercury",
    title="Mercury (Inception)",
    provider="inception",
    cached="as OpenAI chat",
    reasoning="as OpenAI chat; steps are not reported and stay absent",
    stream=INCLUDED,
    sources=('LiteLLM documentation, provider "Inception": "The API is OpenAI-compatible"; docs.inceptionlabs.ai',),
    digest=digest,
    read=read,
    generation_mode="diffusion",
)
VLLM: Final = Convention(
    name="vllm",
    title="vLLM",
    provider="",
    cached="part of prompt_tokens; only with --enable-prompt-tokens-details",
    reasoning="part of completion_tokens; reported by newer versions only, absent in others",
    stream=INCLUDED + "; each chunk with continuous_usage_stats, which also tells cancelled requests",
    sources=("vllm-project/vllm#16162 (example), #18149, #50895",),
    digest=digest,
    read=read,
)
