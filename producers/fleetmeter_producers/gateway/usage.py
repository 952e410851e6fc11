"""The usage of an answer as fields of `GenerationV1`, whichever provider gave it.

    read_usage("anthropic", response).fields
    # {'input_tokens': 2103, 'cache_read_input_tokens': 2000, 'output_tokens': 400, ...}

Nothing here raises for what a provider says: what can't be understood is left out, counted and logged (`notes`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from fleetmeter_producers.gateway.answer import Answer
from fleetmeter_producers.gateway.block import Block, plain
from fleetmeter_producers.gateway.convention import Convention
from fleetmeter_producers.gateway.conventions import CONVENTIONS
from fleetmeter_producers.gateway.fitting import fit
from fleetmeter_producers.gateway.notes import NOTES, Note, NoteCode

_WHOLES: Final = ("input_tokens", "output_tokens")


@dataclass(frozen=True, slots=True)
class Usage:
    """`fields` of `GenerationV1`, to be completed with what only you know (model, generation_mode, account, ...).

    They have at most what the provider said: absent is not zero. `notes` are what was wrong with it.
    """

    convention: str
    fields: dict[str, Any]
    notes: tuple[Note, ...]

    @property
    def has_tokens(self) -> bool:
        """Whether the provider told input or output tokens."""
        return any(name in self.fields for name in _WHOLES)


class UsageStream:
    """Collects what the chunks of one stream say. Give it each chunk; ask it at any time, also after a cancellation."""

    def __init__(self, convention: str | Convention) -> None:
        self._convention = find_convention(convention)
        self._answer = Answer()
        self._notes: list[Note] = []
        self.empty = True
        """Whether nothing was added yet."""

    def add(self, chunk: object) -> str:
        """Take in a chunk (a mapping, or an object of the provider's SDK), and return the text that it adds."""
        said = self._convention.digest(Block(plain(chunk), self._notes, "answer"))
        self._answer.add(said)
        self.empty = False
        return said.text

    def usage(self) -> Usage:
        """What is known so far; its notes are counted with each call, so ask once, at the end."""
        return _usage(self._convention, self._answer, list(self._notes))


def read_usage(convention: str | Convention, answer: object) -> Usage:
    """The usage in a whole answer, or in a bare usage block.

    `convention` is a name in `CONVENTIONS` (docs/producers/providers.md has them all); `KeyError` for another. `answer`
    is a mapping, or an object of the provider's SDK.
    """
    convention, notes = find_convention(convention), list[Note]()
    return _usage(convention, convention.digest(Block(plain(answer), notes, "answer")), notes)


def find_convention(convention: str | Convention) -> Convention:
    """The convention of a name; `KeyError` with the names that there are."""
    if isinstance(convention, Convention):
        return convention
    try:
        return CONVENTIONS[convention]
    except KeyError:
        raise KeyError(f"no convention is called {convention!r}; there are {', '.join(CONVENTIONS)}") from None


def _usage(convention: Convention, answer: Answer, notes: list[Note]) -> Usage:
    measures: dict[str, Any] = {}
    if answer.usage is None:
        notes.append(Note(NoteCode.NO_USAGE, "usage", "the answer ended without it; token counts stay absent"))
    else:
        measures = convention.read(Block(answer.usage, notes))
    if answer.tool_calls:
        measures["tool_calls"] = len(answer.tool_calls)
    measures = fit(measures, notes)
    fidelity = {"usage_fidelity": "provider_reported"} if any(name in measures for name in _WHOLES) else {}
    provider = {"provider": convention.provider} if convention.provider else {}
    NOTES.add(convention.name, notes)
    return Usage(convention.name, {**provider, **answer.facts, **fidelity, **measures}, tuple(notes))
