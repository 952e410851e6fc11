"""Amazon Bedrock's Converse: inputTokens lack what a cache gave or took, for all models."""

from __future__ import annotations

from typing import Any, Final

from fleetmeter_producers.gateway.answer import Answer, service_tier
from fleetmeter_producers.gateway.block import Block
from fleetmeter_producers.gateway.convention import Convention
from fleetmeter_producers.gateway.conventions.openai_chat import split_writes
from fleetmeter_producers.gateway.notes import NoteCode

_USAGE_NAMES: Final = ("inputTokens", "outputTokens", "totalTokens")


def digest(answer: Block) -> Answer:
    """An answer of Converse, an event of ConverseStream, or a bare usage block."""
    metadata = answer.part("metadata") if answer.has("metadata") else answer
    found = Answer()
    if metadata.has("usage"):
        if metadata.part("usage").has(*_USAGE_NAMES):
            found.usage = dict(metadata.raw("usage"))
    elif metadata.has(*_USAGE_NAMES):
        found.usage = metadata.all()
    if found.usage is not None and metadata.has("metrics"):
        found.usage["latencyMs"] = metadata.part("metrics").raw("latencyMs")
    reason = answer.text("stopReason") or answer.part("messageStop").text("stopReason")
    found.learn(
        request_id=answer.part("ResponseMetadata").text("RequestId"),
        finish_reason=reason,
        status="ok" if reason else None,
        service_tier=service_tier(metadata.part("serviceTier").text("type")),
    )
    for position, part in enumerate(answer.part("output").part("message").items("content")):
        found.say(part.raw("text"))
        if part.has("toolUse"):
            found.tool_calls.add(position)
    found.say(answer.part("contentBlockDelta").part("delta").raw("text"))
    begun = answer.part("contentBlockStart")
    if begun.part("start").has("toolUse"):
        found.tool_calls.add(begun.quantity("contentBlockIndex"))
    return found


def read(usage: Block) -> dict[str, Any]:
    """The measures of a usage block."""
    fresh, output = usage.quantity("inputTokens"), usage.quantity("outputTokens")
    cached = usage.quantity("cacheReadInputTokens", "cacheReadInputTokenCount")
    details = {part.raw("ttl"): part.quantity("inputTokens") for part in _details(usage)}
    written = usage.quantity("cacheWriteInputTokens", "cacheWriteInputTokenCount")
    short, long = split_writes(usage, written, details.get("5m"), details.get("1h"))
    whole = None if fresh is None else fresh + (cached or 0) + (short or 0) + (long or 0)
    total = usage.quantity("totalTokens")
    if None not in (whole, output, total) and total != (whole or 0) + (output or 0):
        usage.note(
            NoteCode.TOTAL_DIFFERS, "totalTokens", f"is {total}, but input is {whole} and output {output}: these hold"
        )
    return {
        "input_tokens": whole,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens_5m": short,
        "cache_creation_input_tokens_1h": long,
        "output_tokens": output,
        "latency_ms": usage.quantity("latencyMs"),
    }


def _details(usage: Block) -> list[Block]:
    """The breakdown by lifetime, of which only lifetimes that are texts can be looked up."""
    return [part for part in usage.items("cacheDetails") if isinstance(part.raw("ttl"), str)]


BEDROCK: Final = Convention(
    name="bedrock-converse",
    title="Amazon Bedrock Converse",
    provider="aws.bedrock",
    cached="beside inputTokens, reads and writes alike",
    reasoning="part of outputTokens, not told apart",
    stream="metadata event",
    sources=(
        "Amazon Bedrock API reference, TokenUsage and CacheDetail",
        "tensorzero/tensorzero#5688 (real answers: 18 + 7502 + 386 = 7906); mozilla-ai/any-llm#814 (Claude and Nova)",
    ),
    digest=digest,
    read=read,
)
