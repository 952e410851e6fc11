"""Ollama's own API: counts at the top of the answer, durations in ns."""

from __future__ import annotations

from typing import Any, Final

from fleetmeter_producers.gateway.answer import Answer
from fleetmeter_producers.gateway.block import Block
from fleetmeter_producers.gateway.convention import Convention

_NAMES: Final = ("prompt_eval_count", "eval_count", "prompt_eval_cached_count", "total_duration")
_NS_IN_MS: Final = 1_000_000


def digest(answer: Block) -> Answer:
    """An answer of `/api/chat` or `/api/generate`, or a chunk; the last one, with done, has the counts."""
    found = Answer()
    if answer.has("prompt_eval_count", "eval_count"):
        found.usage = {name: answer.raw(name) for name in _NAMES if answer.has(name)}
    reason = answer.text("done_reason")
    found.learn(model=answer.text("model"), finish_reason=reason, status="ok" if answer.raw("done") is True else None)
    found.say(answer.raw("response"), answer.part("message").raw("thinking"), answer.part("message").raw("content"))
    for _ in answer.part("message").items("tool_calls"):
        found.tool_calls.add(object())
    return found


def read(usage: Block) -> dict[str, Any]:
    """The measures."""
    duration = usage.number("total_duration")
    return {
        "input_tokens": usage.quantity("prompt_eval_count"),
        "cache_read_input_tokens": usage.quantity("prompt_eval_cached_count"),
        "output_tokens": usage.quantity("eval_count"),
        "latency_ms": None if duration is None else round(duration / _NS_IN_MS),
    }


OLLAMA: Final = Convention(
    name="ollama",
    title="Ollama",
    provider="",
    cached="part of prompt_eval_count (prompt_eval_cached_count in newer versions); old versions leave "
    "prompt_eval_count out when the whole prompt was cached: it stays absent",
    reasoning="part of eval_count, not told apart",
    stream="last chunk (done: true)",
    sources=("ollama/ollama, docs/api/usage.mdx", "ollama/ollama#5371, #16428, #3427"),
    digest=digest,
    read=read,
)
