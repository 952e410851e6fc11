"""How providers report usage, by name. docs/producers/providers.md is made of this."""

from __future__ import annotations

from typing import Final

from fleetmeter_producers.gateway.convention import Convention
from fleetmeter_producers.gateway.conventions.anthropic import ANTHROPIC
from fleetmeter_producers.gateway.conventions.bedrock import BEDROCK
from fleetmeter_producers.gateway.conventions.gemini import GEMINI
from fleetmeter_producers.gateway.conventions.gemini_openai import GEMINI_OPENAI
from fleetmeter_producers.gateway.conventions.litellm import LITELLM
from fleetmeter_producers.gateway.conventions.llama_cpp import LLAMA_CPP
from fleetmeter_producers.gateway.conventions.ollama import OLLAMA
from fleetmeter_producers.gateway.conventions.openai_chat import MERCURY, OPENAI_CHAT, VLLM
from fleetmeter_producers.gateway.conventions.openai_responses import OPENAI_RESPONSES
from fleetmeter_producers.gateway.conventions.opentelemetry import OPENTELEMETRY
from fleetmeter_producers.gateway.conventions.sglang import SGLANG

CONVENTIONS: Final[dict[str, Convention]] = {
    convention.name: convention
    for convention in (
        OPENAI_CHAT,
        OPENAI_RESPONSES,
        ANTHROPIC,
        GEMINI,
        GEMINI_OPENAI,
        BEDROCK,
        MERCURY,
        VLLM,
        SGLANG,
        LLAMA_CPP,
        OLLAMA,
        LITELLM,
        OPENTELEMETRY,
    )
}


def conventions_table() -> str:
    """The table of the documentation, in Markdown."""
    rows = ["| name | cached input | reasoning | a stream tells usage in |", "|---|---|---|---|"]
    rows += [f"| `{c.name}` {c.title} | {c.cached} | {c.reasoning} | {c.stream} |" for c in CONVENTIONS.values()]
    sources = [f"- **{c.title}**: {'. '.join(c.sources)}." for c in CONVENTIONS.values()]
    return "\n".join([*rows, "", *sources])
