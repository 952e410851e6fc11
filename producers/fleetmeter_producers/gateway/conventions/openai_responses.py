"""OpenAI's responses: the same numbers as chat completions under other names, and states instead of finish reasons."""

from __future__ import annotations

from typing import Any, Final

from fleetmeter_producers.gateway.answer import Answer, service_tier
from fleetmeter_producers.gateway.block import Block
from fleetmeter_producers.gateway.convention import Convention
from fleetmeter_producers.gateway.conventions.openai_chat import cache_writes, wholes

_STATUS: Final = {"completed": "ok", "incomplete": "ok", "failed": "error", "cancelled": "cancelled"}
_USAGE_NAMES: Final = ("input_tokens", "output_tokens", "total_tokens")


def digest(answer: Block) -> Answer:
    """A response, an event of a stream (which has a response inside), or a bare usage block."""
    response = answer.part("response") if answer.has("response") else answer
    found = Answer()
    if response.has("usage"):
        if response.part("usage").has(*_USAGE_NAMES):
            found.usage = dict(response.raw("usage"))
    elif response.has(*_USAGE_NAMES):
        names = (*_USAGE_NAMES, "input_tokens_details", "output_tokens_details")
        found.usage = {name: response.raw(name) for name in names if response.has(name)}
    if answer.raw("type") == "error":
        found.learn(status="error")
    state = response.text("status")
    found.learn(
        model=response.text("model"),
        request_id=response.text("id") if response.has("status") else None,
        service_tier=service_tier(response.text("service_tier")),
        status=_STATUS.get(state or ""),
        finish_reason=response.part("incomplete_details").text("reason") or (state if state in _STATUS else None),
    )
    if answer.raw("type") in ("response.output_text.delta", "response.reasoning_text.delta"):
        found.say(answer.raw("delta"))
    searches = 0
    for position, item in enumerate(response.items("output")):
        kind = item.raw("type")
        if kind in ("function_call", "custom_tool_call"):
            found.tool_calls.add(position)
        if not answer.has("type"):  # an event that ends a stream repeats what deltas said
            found.say(*(part.raw("text") for part in item.items("content")))
        searches += kind == "web_search_call"
    if searches and found.usage is not None:
        found.usage["web_search_calls"] = searches
    return found


def read(usage: Block) -> dict[str, Any]:
    """The measures of a usage block."""
    details, out = usage.part("input_tokens_details"), usage.part("output_tokens_details")
    cached, reasoning = details.quantity("cached_tokens"), out.quantity("reasoning_tokens")
    short, long = cache_writes(details)
    input_tokens, output_tokens = wholes(
        usage,
        usage.quantity("input_tokens"),
        usage.quantity("output_tokens"),
        cached=(cached or 0) + (short or 0) + (long or 0),
        reasoning=reasoning or 0,
    )
    return {
        "input_tokens": input_tokens,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens_5m": short,
        "cache_creation_input_tokens_1h": long,
        "audio_input_tokens": details.quantity("audio_tokens"),
        "image_input_tokens": details.quantity("image_tokens"),
        "output_tokens": output_tokens,
        "reasoning_tokens": reasoning,
        "audio_output_tokens": out.quantity("audio_tokens"),
        "image_output_tokens": out.quantity("image_tokens"),
        "web_search_requests": usage.quantity("web_search_calls"),
    }


OPENAI_RESPONSES: Final = Convention(
    name="openai-responses",
    title="OpenAI responses",
    provider="",
    cached="part of input_tokens; cache writes too: those of 30 minutes stand as _5m, those of 12 hours as _1h",
    reasoning="part of output_tokens",
    stream="response.completed, response.incomplete or response.failed",
    sources=("openai-python, src/openai/types/responses/response_usage.py",),
    digest=digest,
    read=read,
)
