"""JSON as the contract reads it, for those who look into an event after the native core has judged it.

orjson refuses a number that no double holds, such as `1e400`; RFC 8259 does not, and neither does the core where such
a number stands in a field that nobody knows. What the core has accepted must not fail here.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final

import orjson

# A string, so that what looks like a number in it is left alone, or a number by the grammar of JSON. A string without
# an end takes all that follows, so that no text is gone through more than once.
_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?', re.DOTALL)
_LARGEST: Final = b"1.7976931348623157e308"


def decode_json(text: bytes) -> Any:
    """The value of a JSON text; a number beyond a double's range comes as the largest double of its sign.

    Raises `orjson.JSONDecodeError` (a `ValueError`) for what is not JSON.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        within_range = _TOKEN.sub(_within_range, text)
        if within_range == text:
            raise
        return orjson.loads(within_range)


def _within_range(token: re.Match[bytes]) -> bytes:
    if token[0].startswith(b'"') or math.isfinite(float(token[0])):
        return token[0]
    return b"-" + _LARGEST if token[0].startswith(b"-") else _LARGEST
