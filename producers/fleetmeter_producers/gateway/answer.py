"""What one answer of a provider, or one chunk of a stream, says about usage; chunks add up to the answer."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Final

# Usage blocks are two levels deep. What a provider nests deeper is replaced as a whole.
_MERGE_DEPTH: Final = 4

_TIERS: Final = {
    "default": "standard",
    "standard": "standard",
    "on_demand": "standard",
    "batch": "batch",
    "flex": "flex",
    "on_demand_flex": "flex",
    "priority": "priority",
    "on_demand_priority": "priority",
}


@dataclass(slots=True)
class Answer:
    """`usage` is the provider's own block, None as long as there is none. `facts` are texts of `GenerationV1`, such as
    model, request_id, finish_reason, service_tier, status. `tool_calls` names each call once, however often chunks
    mention it; a call that has no name is an object of its own. `text` is what this very chunk adds to the answer, as
    far as the convention tells: for counting tokens that nobody else counts."""

    usage: dict[str, Any] | None = None
    facts: dict[str, str] = field(default_factory=dict)
    tool_calls: set[Hashable] = field(default_factory=set)
    text: str = ""

    def add(self, later: Answer) -> None:
        """Take in what a later chunk says. Counts of all providers are cumulative: the later one holds. Its text is
        not taken in: nobody keeps a whole answer for nothing."""
        if later.usage is not None:
            self.usage = merged(self.usage or {}, later.usage)
        self.facts.update(later.facts)
        self.tool_calls |= later.tool_calls

    def say(self, *texts: object) -> None:
        """What the chunk adds to the answer; what is no text is passed over."""
        self.text += "".join(text for text in texts if isinstance(text, str))

    def learn(self, **facts: str | None) -> None:
        """Take in facts, those that are known."""
        self.facts.update({name: value for name, value in facts.items() if value})


def merged(earlier: dict[str, Any], later: dict[str, Any], depth: int = _MERGE_DEPTH) -> dict[str, Any]:
    """Both blocks in one: the later value holds, unless it is null."""
    both = dict(earlier)
    for name, value in later.items():
        before = both.get(name)
        if depth and isinstance(before, dict) and isinstance(value, dict):
            both[name] = merged(before, value, depth - 1)
        elif value is not None:
            both[name] = value
    return both


def service_tier(text: str | None) -> str | None:
    """The contract's word for a provider's class of service; None for those that it does not know."""
    return _TIERS.get(text.lower()) if text else None
