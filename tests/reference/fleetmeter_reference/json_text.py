"""JSON as the contract reads it: RFC 8259, repeated keys kept, numbers kept as they were written.

Decoding is the standard library's; what it forgives (NaN, lone surrogates) or cannot do (any depth) is added here.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

DEEPEST = 64
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")


class NotJson(ValueError):
    """The text is not one JSON document."""


@dataclass(frozen=True)
class Number:
    """A number, as it was written."""

    literal: str


@dataclass(frozen=True)
class Object:
    """An object: all its members in the order of the text, repeated keys included."""

    members: list[tuple[str, Any]]

    @cached_property
    def last(self) -> dict[str, Any]:
        """The value of each key; of a repeated one the last."""
        return dict(self.members)

    @cached_property
    def repeated(self) -> frozenset[str]:
        """The keys that stand more than once."""
        counts = Counter(key for key, _ in self.members)
        return frozenset(key for key, count in counts.items() if count > 1)


def depth(text: str) -> int:
    """How deep arrays and objects are nested; `1` is 0 deep, `[1]` is 1 deep. Exact for valid JSON; of another text no
    less deep than a decoder gets before it finds what is wrong."""
    now = deepest = 0
    for token in _TOKEN.findall(text):
        if token in "[{":
            now += 1
            deepest = max(deepest, now)
        elif token in "]}":
            now -= 1
    return deepest


def check(text: str) -> None:
    """Raise `NotJson` unless the text is one JSON document, however deep."""
    _decode(_without_depths(text) if depth(text) > DEEPEST else text)


def decode(text: str) -> Any:
    """The value of a JSON document that is at most `DEEPEST` deep."""
    return _decode(text)


def split_array(text: str) -> Iterator[str]:
    """The text of each element of a valid JSON array."""
    inner = text.strip(" \t\r\n")[1:-1]
    if not inner.strip(" \t\r\n"):
        return
    start = level = 0
    for token in _TOKEN.finditer(inner):
        level += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if token[0] == "," and level == 0:
            yield inner[start : token.start()].strip(" \t\r\n")
            start = token.end()
    yield inner[start:].strip(" \t\r\n")


def _decode(text: str) -> Any:
    try:
        value = json.loads(
            text, object_pairs_hook=Object, parse_int=Number, parse_float=Number, parse_constant=_refuse_constant
        )
    except json.JSONDecodeError as error:
        raise NotJson(str(error)) from error
    for string in _strings(value):
        if _SURROGATE.search(string):
            raise NotJson("a lone surrogate")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is not JSON")


def _strings(value: Any) -> Iterator[str]:
    """Every string in a value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, Object):
        for key, item in value.members:
            yield key
            yield from _strings(item)


def _without_depths(text: str) -> str:
    """The text with every valid array or object below `DEEPEST` replaced by null: valid exactly if the text is.

    Python's decoder is recursive; this looks at the innermost brackets first, so that no depth is too much for it.
    """
    open_parts = [""]
    end = 0
    for token in _TOKEN.finditer(text):
        open_parts[-1] += text[end : token.start()]
        end = token.end()
        if token[0] in "[{":
            open_parts.append(token[0])
        elif token[0] in "]}" and len(open_parts) > 1:
            part = open_parts.pop() + token[0]
            if len(open_parts) > DEEPEST:
                _decode(part)
                part = " null "
            open_parts[-1] += part
        else:
            open_parts[-1] += token[0]
    if len(open_parts) > 1:
        raise NotJson("a bracket is not closed")
    return open_parts[0] + text[end:]
