"""llama.cpp's server: its own `/completion` with timings, and OpenAI's names with timings beside them."""

from __future__ import annotations

from typing import Any, Final

from fleetmeter_producers.gateway.answer import Answer
from fleetmeter_producers.gateway.block import Block
from fleetmeter_producers.gateway.convention import Convention
from fleetmeter_producers.gateway.conventions import openai_chat

_NATIVE: Final = ("tokens_evaluated", "tokens_predicted")


def digest(answer: Block) -> Answer:
    """An answer or the last chunk of `/completion`, or of the OpenAI-compatible endpoints."""
    found = openai_chat.digest(answer)
    found.say(answer.raw("content"))
    if found.usage is None and answer.raw("stop") is True and answer.has(*_NATIVE):
        found.usage = {name: answer.raw(name) for name in _NATIVE if answer.has(name)}
        # eos, word and limit; none where the client went away.
        reason = answer.text("stop_type")
        found.learn(finish_reason=reason, status="cancelled" if reason == "none" else "ok")
    if found.usage is not None and answer.has("timings"):
        found.usage["timings"] = answer.raw("timings")
    return found


def read(usage: Block) -> dict[str, Any]:
    """The measures of a usage block. `tokens_cached` is not read: it counts what the slot holds, not what was saved."""
    timings = usage.part("timings")
    cached, processed = timings.quantity("cache_n"), timings.quantity("prompt_n")
    measures = openai_chat.read(usage)
    if not usage.has("prompt_tokens"):
        measures["input_tokens"] = usage.quantity("tokens_evaluated")
        measures["output_tokens"] = usage.quantity("tokens_predicted")
    whole = measures["input_tokens"]
    if cached is None and processed is not None and whole is not None and processed <= whole:
        cached = whole - processed  # versions before cache_n
    if measures["cache_read_input_tokens"] is None:
        measures["cache_read_input_tokens"] = cached
    return {
        **measures,
        "draft_tokens": timings.quantity("draft_n"),
        "accepted_draft_tokens": timings.quantity("draft_n_accepted"),
    }


LLAMA_CPP: Final = Convention(
    name="llama.cpp",
    title="llama.cpp server",
    provider="",
    cached="part of tokens_evaluated: timings.cache_n, or tokens_evaluated less timings.prompt_n; tokens_cached is "
    "what the slot holds, and not read",
    reasoning="part of tokens_predicted, not told apart",
    stream="last chunk (stop: true)",
    sources=(
        "ggml-org/llama.cpp, tools/server (tokens_evaluated is n_prompt_tokens, tokens_cached n_past)",
        "ollama/ollama#16428 (prompt = cache_n + prompt_n)",
    ),
    digest=digest,
    read=read,
)
