"""Gemini through Google's OpenAI-compatible endpoint: thoughts are in total_tokens, and in nothing else.

completion_tokens are the visible ones alone, and no details tell the thoughts, which Google sells as output. So what
total_tokens has beyond both is them. Results of tools that Google itself runs would be in there too, as input: they are
not told apart.
"""

from __future__ import annotations

from typing import Any, Final

from fleetmeter_producers.gateway.block import Block
from fleetmeter_producers.gateway.convention import Convention
from fleetmeter_producers.gateway.conventions import openai_chat


def read(usage: Block) -> dict[str, Any]:
    """The measures of a usage block."""
    told = ("prompt_tokens", "completion_tokens", "total_tokens")
    if usage.has(*told) and not usage.part("completion_tokens_details").has("reasoning_tokens"):
        # An answer of thoughts alone has no completion_tokens, or 0 of them.
        prompt, visible, total = (usage.quantity(name) or 0 for name in told)
        if prompt and total > prompt + visible:
            usage = usage.with_more(completion_tokens=visible, reasoning_tokens=total - prompt - visible)
    return openai_chat.read(usage)


GEMINI_OPENAI: Final = Convention(
    name="gemini-openai",
    title="Google Gemini's OpenAI-compatible endpoint",
    provider="google",
    cached="as OpenAI chat",
    reasoning="beside completion_tokens: what total_tokens has beyond it and prompt_tokens",
    stream=openai_chat.INCLUDED,
    sources=(
        "Clarifai/clarifai-python#978 (real figures: 20 and 424 of 1016)",
        "LangChain4j, GoogleGenAiTokenUsage (total = input + output + tool use prompt + thoughts)",
    ),
    digest=openai_chat.digest,
    read=read,
)
