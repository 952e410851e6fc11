"""What was wrong with the numbers of a provider: noted, counted and logged, and never the end of a request.

A note says which convention was read, what kind of trouble it was and where; never a value that is text, so that no
prompt gets into a log.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_logger = logging.getLogger(__name__)


class NoteCode(StrEnum):
    """Kinds of trouble; stable, for metrics."""

    BAD_NUMBER = "bad_number"  # no whole number from 0 to the contract's cap: left out
    BAD_SHAPE = "bad_shape"  # an object, list or text was expected: left out
    BAD_TEXT = "bad_text"  # a text was too long or had control characters: cut
    PARTS_DO_NOT_FIT = "parts_do_not_fit"  # parts are more than their whole: what does not fit is left out
    TOTAL_DIFFERS = "total_differs"  # the provider's total agrees with no reading of its parts
    NO_USAGE = "no_usage"  # an answer or a stream ended without usage
    ESTIMATED = "estimated"  # tokens were counted here, because the provider did not tell
    CACHED_BY_GATEWAY = "cached_by_gateway"  # the gateway's own cache answered: no model ran, and nothing is emitted
    NOT_EMITTED = "not_emitted"  # the client or the contract refused the event: it is lost


@dataclass(frozen=True, slots=True)
class Note:
    """One finding: its kind, the field it is about, and a sentence."""

    code: NoteCode
    field: str
    sentence: str


class NoteBook:
    """Counts notes by convention and kind, and logs the 1st, 10th, 100th, ... of each. Safe for many threads."""

    def __init__(self) -> None:
        # A stream that garbage collection closes may be noted in the middle of noting.
        self._lock = threading.RLock()
        self._counts: Counter[tuple[str, NoteCode]] = Counter()

    def add(self, convention: str, notes: Iterable[Note]) -> None:
        """Count notes about one answer of a provider."""
        for note in notes:
            with self._lock:
                self._counts[convention, note.code] += 1
                count = self._counts[convention, note.code]
            if _is_power_of_ten(count):
                _logger.warning(
                    "usage as %s reports it: %s: %s (%s, %d times so far)",
                    convention,
                    note.field,
                    note.sentence,
                    note.code,
                    count,
                )

    def counts(self) -> dict[tuple[str, str], int]:
        """How often each kind was noted: (convention, code) -> times."""
        with self._lock:
            return {(convention, code.value): count for (convention, code), count in self._counts.items()}


NOTES: Final = NoteBook()
"""The notes of this process."""


def _is_power_of_ten(count: int) -> bool:
    while count % 10 == 0:
        count //= 10
    return count == 1
