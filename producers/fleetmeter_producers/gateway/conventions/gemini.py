"""Google's Gemini, in the JSON of the API and in the names of its Python SDK."""

from __future__ import annotations

from typing import Any, Final

from fleetmeter_producers.gateway.answer import Answer, service_tier
from fleetmeter_producers.gateway.block import Block
from fleetmeter_producers.gateway.convention import Convention
from fleetmeter_producers.gateway.notes import NoteCode

_USAGE_NAMES: Final = (
    "promptTokenCount",
    "candidatesTokenCount",
    "totalTokenCount",
    "prompt_token_count",
    "candidates_token_count",
    "total_token_count",
)
_PROMPT_DETAILS: Final = ("promptTokensDetails", "prompt_tokens_details")
_TOOL_DETAILS: Final = ("toolUsePromptTokensDetails", "tool_use_prompt_tokens_details")
_OUTPUT_DETAILS: Final = ("candidatesTokensDetails", "candidates_tokens_details")


def digest(answer: Block) -> Answer:
    """A response or a chunk of one (both have the same form), or a bare usage block."""
    found = Answer()
    names = ("usageMetadata", "usage_metadata")
    if answer.has(*names):
        if answer.part(*names).has(*_USAGE_NAMES):
            found.usage = dict(answer.raw(*names))
    elif answer.has(*_USAGE_NAMES):
        found.usage = answer.all()
    usage = Block(found.usage, answer.notes)
    tier = usage.raw("serviceTier", "service_tier") or usage.raw("trafficType", "traffic_type")
    # The SDK gives enumerations, which are texts too.
    found.learn(
        model=answer.text("modelVersion", "model_version"),
        request_id=answer.text("responseId", "response_id"),
        service_tier=service_tier(str(getattr(tier, "value", tier))) if tier else None,
    )
    for candidate in answer.items("candidates"):
        reason = candidate.raw("finishReason", "finish_reason")
        if isinstance(reason, str):
            found.learn(finish_reason=Block({"reason": getattr(reason, "value", reason)}, []).text("reason"))
            found.learn(status="ok")
        for part in candidate.part("content").items("parts"):
            found.say(part.raw("text"))
            if part.has("functionCall", "function_call"):
                found.tool_calls.add(object())
    return found


def read(usage: Block) -> dict[str, Any]:
    """The measures of a usage block."""
    prompt = usage.quantity("promptTokenCount", "prompt_token_count")
    tools = usage.quantity("toolUsePromptTokenCount", "tool_use_prompt_token_count") or 0
    written = usage.quantity("candidatesTokenCount", "candidates_token_count")
    thoughts = usage.quantity("thoughtsTokenCount", "thoughts_token_count")
    total = usage.quantity("totalTokenCount", "total_token_count")
    output = None if written is None and thoughts is None else (written or 0) + (thoughts or 0)
    if total is not None and prompt is not None and output is not None and total != prompt + tools + output:
        if total == prompt + tools + (written or 0):
            output = written  # some models report candidates with the thoughts inside
        else:
            usage.note(
                NoteCode.TOTAL_DIFFERS,
                "totalTokenCount",
                f"is {total}, but input is {prompt + tools} and output {output}: the parts hold",
            )
    return {
        "input_tokens": None if prompt is None else prompt + tools,
        "cache_read_input_tokens": usage.quantity("cachedContentTokenCount", "cached_content_token_count"),
        "audio_input_tokens": _of_modality(usage, "AUDIO", _PROMPT_DETAILS, _TOOL_DETAILS),
        "image_input_tokens": _of_modality(usage, "IMAGE", _PROMPT_DETAILS, _TOOL_DETAILS),
        "output_tokens": output,
        "reasoning_tokens": thoughts,
        "audio_output_tokens": _of_modality(usage, "AUDIO", _OUTPUT_DETAILS),
        "image_output_tokens": _of_modality(usage, "IMAGE", _OUTPUT_DETAILS),
    }


def _of_modality(usage: Block, modality: str, *details: tuple[str, ...]) -> int | None:
    """Tokens of one modality in the given lists; None where no list mentions it."""
    counts = [
        part.quantity("tokenCount", "token_count")
        for names in details
        for part in usage.items(*names)
        if part.raw("modality") == modality
    ]
    told = [count for count in counts if count is not None]
    return sum(told) if told else None


GEMINI: Final = Convention(
    name="gemini",
    title="Google Gemini",
    provider="google",
    cached="part of promptTokenCount; tokens of tool results stand beside it and are input",
    reasoning="beside candidatesTokenCount, unless totalTokenCount shows that it is inside",
    stream="each chunk, cumulative",
    sources=(
        'Gemini API, UsageMetadata (promptTokenCount "includes the number of tokens in the cached content")',
        "LangChain4j, GoogleGenAiTokenUsage (total = input + output + tool use prompt + thoughts)",
        "litellm, vertex_and_google_ai_studio_gemini.py (the check by the total)",
    ),
    digest=digest,
    read=read,
)
