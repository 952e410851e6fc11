"""A JSON array taken apart into the texts of its elements, which are kept byte for byte.

Exactly, by Python's parser; or by a guess, ten times faster, that the judgement of the parts proves right or wrong.
"""

from __future__ import annotations

import json
import re
import sys
from http import HTTPStatus
from typing import Final

from fleetmeter_schemas.reasons import Reason

from fleetmeter_producers.ingest.judging import Judge, Refusal
from fleetmeter_producers.ingest.problem import Problem

BLANKS: Final = b" \t\r\n"
"""Whitespace of JSON."""
_SKIP_BLANKS: Final = re.compile(r"[ \t\r\n]*")
_BETWEEN_OBJECTS: Final = re.compile(rb"\}[ \t\r]*,[ \t\r]*\{")
_UNREAD: Final = frozenset({Reason.NOT_JSON, Reason.BAD_UTF8, Reason.TOO_DEEP, Reason.TOO_LARGE})
"""Refusals after which a text may be no JSON."""


def in_one_line(text: bytes) -> bytes:
    """The text with its line feeds as carriage returns: between tokens both are blanks, and within a string both are
    forbidden, so that what was valid stays so, with the same meaning, and what was not does, too."""
    return text.replace(b"\n", b"\r")


def broken(reason: Reason, detail: str) -> Problem:
    """The answer to a body that can't be taken apart."""
    return Problem(
        HTTPStatus.BAD_REQUEST, f"{detail}. {reason.sentence}", reason=reason.code, accepted=0, rejected=0, errors=[]
    )


def too_many(most: int) -> Problem:
    """The answer to a body with more events than are taken, of which no more are looked at."""
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the request has more than {most} events, which are taken at once; send fewer in each",
    )


def judged_elements(
    body: bytes, judge: Judge, now_us: int, most: int = sys.maxsize
) -> tuple[list[bytes], list[Refusal]] | None:
    """The elements and their refusals, if they are objects that are parted alike; None if that can't be told, or if
    they seem to be more than `most`.

    The array is cut wherever the text looks like the first gap between two objects. If every part is JSON, the cuts
    were right: `[` part `,` part ... `]` is the body, and a JSON text can be read in one way only. What `judge` refuses
    for any other reason than those of `_UNREAD` it has read to its end.
    """
    inner = body.strip(BLANKS)
    if not (inner.startswith(b"[") and inner.endswith(b"]")):
        return None
    inner = in_one_line(inner[1:-1].strip(BLANKS))
    if not (inner.startswith(b"{") and inner.endswith(b"}")):
        return None
    gap = _BETWEEN_OBJECTS.search(inner)
    parts = inner[1:-1].split(gap[0], most) if gap else [inner[1:-1]]
    if len(parts) > most:
        return None
    events = [b"{" + part + b"}" for part in parts]
    refusals = judge.judge(events, now_us)
    return None if any(refusal.reason in _UNREAD for refusal in refusals) else (events, refusals)


def elements_of(body: bytes, most: int = sys.maxsize) -> list[bytes]:
    """The elements, each in one line. Raises `Problem`: 400 if the body is no JSON array, 413 once there are more than
    `most`."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise broken(Reason.BAD_UTF8, f"byte {error.start} of the batch is not UTF-8") from error
    return [in_one_line(element.encode()) for element in _split(text, most)]


def _split(text: str, most: int) -> list[str]:
    blanks = _SKIP_BLANKS.match
    place = _end(blanks(text))
    if text[place : place + 1] != "[":
        raise broken(Reason.NOT_JSON, "a batch must be a JSON array of events")
    elements: list[str] = []
    place = _end(blanks(text, place + 1))
    if text[place : place + 1] == "]":
        return _whole(text, place, elements)
    while True:
        if len(elements) == most:
            raise too_many(most)
        end = _end_of_value(text, place)
        elements.append(text[place:end])
        place = _end(blanks(text, end))
        if text[place : place + 1] == "]":
            return _whole(text, place, elements)
        if text[place : place + 1] != ",":
            raise broken(Reason.NOT_JSON, f"a comma or a bracket is missing after event {len(elements) - 1}")
        place = _end(blanks(text, place + 1))


def _whole(text: str, place: int, elements: list[str]) -> list[str]:
    if _end(_SKIP_BLANKS.match(text, place + 1)) != len(text):
        raise broken(Reason.NOT_JSON, "something follows the batch's closing bracket")
    return elements


def _end(match: re.Match[str] | None) -> int:
    return match.end() if match else 0


_decoder: Final = json.JSONDecoder()
# More digits than Python's int takes are for the judge to refuse, not for the framing to stumble over.
_decoder_of_any_number: Final = json.JSONDecoder(parse_int=str, parse_float=str)


def _end_of_value(text: str, place: int) -> int:
    try:
        return _decoder.raw_decode(text, place)[1]
    except RecursionError as error:
        raise broken(Reason.TOO_DEEP, "an event is nested too deep for the batch to be read") from error
    except json.JSONDecodeError as error:
        raise broken(Reason.NOT_JSON, str(error)) from error
    except ValueError:
        return _decoder_of_any_number.raw_decode(text, place)[1]
