"""SGLang: OpenAI's names with reasoning_tokens at the top, and its own `/generate` with meta_info.

What it calls prediction tokens are drafts of speculative decoding. Rejected ones are no part of completion_tokens; read
as OpenAI means it, they would be billed.
"""

from __future__ import annotations

from typing import Any, Final

from fleetmeter_producers.gateway.answer import Answer
from fleetmeter_producers.gateway.block import Block
from fleetmeter_producers.gateway.convention import Convention
from fleetmeter_producers.gateway.conventions import openai_chat


def digest(answer: Block) -> Answer:
    """An answer or chunk of `/generate`, or of the OpenAI-compatible endpoints."""
    if not answer.has("meta_info"):
        return openai_chat.digest(answer)
    meta = answer.part("meta_info")
    found = Answer()
    if meta.has("prompt_tokens", "completion_tokens"):
        found.usage = meta.all()
    reason = meta.raw("finish_reason")
    kind = meta.part("finish_reason").text("type") if isinstance(reason, dict) else meta.text("finish_reason")
    status = {"abort": "cancelled", None: None}.get(kind, "ok")
    found.learn(request_id=meta.text("id"), finish_reason=kind, status=status)
    return found


def read(usage: Block) -> dict[str, Any]:
    """The measures of a usage block, or of meta_info."""
    measures = openai_chat.read(usage)
    accepted = measures.pop("accepted_prediction_tokens")
    rejected = measures.pop("rejected_prediction_tokens")
    drafts = None if accepted is None and rejected is None else (accepted or 0) + (rejected or 0)
    if usage.has("spec_num_proposed_drafts"):
        drafts, accepted = usage.quantity("spec_num_proposed_drafts"), usage.quantity("spec_num_correct_drafts")
    latency_s = usage.number("e2e_latency")
    return {
        **measures,
        "draft_tokens": drafts,
        "accepted_draft_tokens": accepted,
        "latency_ms": None if latency_s is None else round(latency_s * 1000),
    }


SGLANG: Final = Convention(
    name="sglang",
    title="SGLang",
    provider="",
    cached="part of prompt_tokens; only with --enable-cache-report",
    reasoning="part of completion_tokens, at the top of the block; accepted and rejected prediction tokens are drafts, "
    "and rejected ones no part of completion_tokens",
    stream="last chunk, if stream_options.include_usage is set; each chunk of /generate",
    sources=("sgl-project/sglang, python/sglang/srt/entrypoints/openai/usage_processor.py",),
    digest=digest,
    read=read,
)
