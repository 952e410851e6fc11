"""Anthropic's messages: input_tokens lack what a cache gave or took; output_tokens include the thinking."""

from __future__ import annotations

from typing import Any, Final

from fleetmeter_producers.gateway.answer import Answer, service_tier
from fleetmeter_producers.gateway.block import Block
from fleetmeter_producers.gateway.convention import Convention
from fleetmeter_producers.gateway.conventions.openai_chat import split_writes
from fleetmeter_producers.gateway.notes import NoteCode

_USAGE_NAMES: Final = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_FURTHER: Final = ("cache_creation", "output_tokens_details", "server_tool_use", "service_tier", "iterations")


def digest(answer: Block) -> Answer:
    """A message, an event of a stream, or a bare usage block."""
    message = answer.part("message") if answer.raw("type") == "message_start" else answer
    found = Answer()
    if message.has("usage"):
        if message.part("usage").has(*_USAGE_NAMES):
            found.usage = dict(message.raw("usage"))
    elif message.has(*_USAGE_NAMES):
        found.usage = {name: message.raw(name) for name in (*_USAGE_NAMES, *_FURTHER) if message.has(name)}
    if answer.raw("type") == "message_start" and found.usage is not None:
        # The few that were there when the stream began. Where it is cut, they are not what was generated.
        found.usage.pop("output_tokens", None)
    usage = Block(found.usage, message.notes)
    reason = message.text("stop_reason") or answer.part("delta").text("stop_reason")
    region = usage.text("inference_geo")
    found.learn(
        model=message.text("model"),
        request_id=message.text("id"),
        finish_reason=reason,
        status="error" if answer.raw("type") == "error" else "ok" if reason else None,
        service_tier=service_tier(usage.text("service_tier")),
        region=None if region == "not_available" else region,
    )
    content = message.raw("content")
    if isinstance(content, list | tuple):
        for position, part in enumerate(message.items("content")):
            found.say(part.raw("thinking"), part.raw("text"))
            if part.raw("type") == "tool_use":
                found.tool_calls.add(position)
    if answer.raw("type") == "content_block_delta":
        delta = answer.part("delta")
        found.say(delta.raw("thinking"), delta.raw("text"), delta.raw("partial_json"))
    if answer.raw("type") == "content_block_start" and answer.part("content_block").raw("type") == "tool_use":
        found.tool_calls.add(answer.quantity("index"))
    return found


def read(usage: Block) -> dict[str, Any]:
    """The measures of a usage block. A compaction's tokens are billed, and stand only among the iterations."""
    compactions = [part for part in usage.items("iterations") if part.raw("type") == "compaction"]
    measures = _added([_one(part) for part in (usage, *compactions)])
    if not usage.has("output_tokens"):
        usage.note(NoteCode.NO_USAGE, "output_tokens", "the stream ended before they were told; they stay absent")
    measures["reasoning_tokens"] = usage.part("output_tokens_details").quantity("thinking_tokens")
    measures["web_search_requests"] = usage.part("server_tool_use").quantity("web_search_requests")
    return measures


def _one(usage: Block) -> dict[str, int | None]:
    fresh, cached = usage.quantity("input_tokens"), usage.quantity("cache_read_input_tokens")
    creation = usage.part("cache_creation")
    short, long = split_writes(
        usage,
        usage.quantity("cache_creation_input_tokens"),
        creation.quantity("ephemeral_5m_input_tokens"),
        creation.quantity("ephemeral_1h_input_tokens"),
    )
    return {
        "input_tokens": None if fresh is None else fresh + (cached or 0) + (short or 0) + (long or 0),
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens_5m": short,
        "cache_creation_input_tokens_1h": long,
        "output_tokens": usage.quantity("output_tokens"),
    }


def _added(parts: list[dict[str, int | None]]) -> dict[str, Any]:
    known = {name: [part[name] for part in parts if part[name] is not None] for name in parts[0]}
    return {name: sum(value or 0 for value in values) if values else None for name, values in known.items()}


ANTHROPIC: Final = Convention(
    name="anthropic",
    title="Anthropic messages",
    provider="anthropic",
    cached="beside input_tokens, reads and writes alike; a write without lifetime is one of 5 minutes",
    reasoning="part of output_tokens; a compaction's tokens stand beside both, in usage.iterations",
    stream="message_start (its output_tokens are but a beginning, and not read), then message_delta with cumulative "
    "counts; cut before that, output stays absent, or is counted here",
    sources=(
        "anthropic-sdk-python, src/anthropic/types/usage.py, message_delta_usage.py, output_tokens_details.py",
        "Anthropic's page on prompt caching (the total is the sum of the three), quoted in maximhq/bifrost#908",
        "Anthropic's page on compaction, quoted in BerriAI/litellm#27060",
    ),
    digest=digest,
    read=read,
)
