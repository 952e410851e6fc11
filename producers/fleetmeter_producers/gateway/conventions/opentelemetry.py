"""OpenTelemetry's attributes of inference spans: the numbers of an instrumentation, which read the provider's."""

from __future__ import annotations

from typing import Any, Final

from fleetmeter_producers.gateway.answer import Answer, service_tier
from fleetmeter_producers.gateway.block import Block
from fleetmeter_producers.gateway.convention import Convention
from fleetmeter_producers.gateway.notes import NoteCode

_USAGE: Final = "gen_ai.usage."
_INPUT: Final = (_USAGE + "input_tokens", _USAGE + "prompt_tokens")
_OUTPUT: Final = (_USAGE + "output_tokens", _USAGE + "completion_tokens")
_CACHE_READ: Final = (_USAGE + "cache_read.input_tokens", _USAGE + "cache_read_input_tokens")
_CACHE_WRITE: Final = (_USAGE + "cache_creation.input_tokens", _USAGE + "cache_creation_input_tokens")
_REASONING: Final = (_USAGE + "reasoning.output_tokens", _USAGE + "output_tokens.reasoning")
_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
_READ: Final = (*_INPUT, *_OUTPUT, *_CACHE_READ, *_CACHE_WRITE, *_REASONING, _FIRST_CHUNK)
_TIERS: Final = ("openai.response.service_tier", "gen_ai.openai.response.service_tier")


def digest(span: Block) -> Answer:
    """The attributes of a span. Messages, which some instrumentations record, are not looked at."""
    found = Answer()
    if span.has(*_INPUT, *_OUTPUT):
        found.usage = {name: span.raw(name) for name in _READ if span.has(name)}
    reasons = span.raw("gen_ai.response.finish_reasons")
    reason = reasons[0] if isinstance(reasons, list | tuple) and reasons else None
    found.learn(
        model=span.text("gen_ai.response.model"),
        request_id=span.text("gen_ai.response.id"),
        provider=span.text("gen_ai.provider.name", "gen_ai.system"),
        conversation=span.text("gen_ai.conversation.id"),
        service_tier=service_tier(span.text(*_TIERS)),
        finish_reason=Block({"reason": reason}, span.notes).text("reason"),
    )
    return found


def read(usage: Block) -> dict[str, Any]:
    """The measures of the attributes."""
    whole, cached, written = usage.quantity(*_INPUT), usage.quantity(*_CACHE_READ), usage.quantity(*_CACHE_WRITE)
    parts = (cached or 0) + (written or 0)
    if whole is not None and parts > whole:
        usage.note(
            NoteCode.TOTAL_DIFFERS, _INPUT[0], f"is {whole}, less than its cached parts, {parts}: they stand beside it"
        )
        whole += parts
    first_s = usage.number(_FIRST_CHUNK)
    return {
        "input_tokens": whole,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens_5m": written,
        "output_tokens": usage.quantity(*_OUTPUT),
        "reasoning_tokens": usage.quantity(*_REASONING),
        "time_to_first_token_ms": None if first_s is None else round(first_s * 1000),
    }


OPENTELEMETRY: Final = Convention(
    name="opentelemetry",
    title="OpenTelemetry gen_ai.* spans",
    provider="",
    cached="part of gen_ai.usage.input_tokens; beside it if it is less than they are, as instrumentations that copy "
    "Anthropic's numbers write it",
    reasoning="part of gen_ai.usage.output_tokens",
    stream="the span, when it ends",
    sources=(
        'Semantic conventions for generative AI (cached tokens "SHOULD be included in gen_ai.usage.input_tokens")',
    ),
    digest=digest,
    read=read,
)
