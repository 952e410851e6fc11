"""ULIDs: 128 bits as 26 characters, of which the first 48 bits are milliseconds since the epoch.

An incarnation of a client is named by one; so incarnations sort by their start, and two never meet by chance: within
one millisecond, 80 random bits tell them apart. https://github.com/ulid/spec
"""

from __future__ import annotations

import os
import re
import time
from typing import Final

# Crockford's base 32: no I, L, O, U. 26 digits hold 130 bits, so the first one is at most 7.
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ULID: Final = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_RANDOM_BITS: Final = 80


def new_ulid() -> str:
    """A ULID of now, with random bits of the operating system."""
    return ulid_of(time.time_ns() // 1_000_000, int.from_bytes(os.urandom(_RANDOM_BITS // 8)))


def ulid_of(millis: int, randomness: int) -> str:
    """The ULID of a time (ms since the epoch, 48 bits) and 80 random bits; raises `ValueError` for larger numbers."""
    if not (0 <= millis < 1 << 48 and 0 <= randomness < 1 << _RANDOM_BITS):
        raise ValueError(f"a ULID has 48 bits of time and 80 of randomness; got {millis:#x} and {randomness:#x}")
    number = millis << _RANDOM_BITS | randomness
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def is_ulid(text: str) -> bool:
    """Whether a text is a ULID in its canonical form (upper case)."""
    return _ULID.fullmatch(text) is not None
