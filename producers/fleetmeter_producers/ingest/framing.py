"""A request's body taken apart into events, as its content type says; no event is judged here.

CloudEvents 1.0 over HTTP: one event in structured mode, a batch, or binary mode (attributes in `ce-*` headers, data in
the body); and newline-delimited JSON, one structured event a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from http import HTTPStatus
from itertools import islice
from typing import Final
from urllib.parse import unquote_to_bytes

import orjson
from fleetmeter_schemas.decoding import decode_json
from fleetmeter_schemas.reasons import Reason

from fleetmeter_producers.ingest.array import BLANKS, broken, elements_of, in_one_line, too_many
from fleetmeter_producers.ingest.problem import Problem

_ATTRIBUTE: Final = re.compile(r"[a-z0-9]{1,40}")
_PREFIX: Final = "ce-"
_LINE: Final = re.compile(rb"[^ \t\r\n][^\n]*")
"""One that is not blank, from its first character."""


class Format(Enum):
    """What a body holds, and the content type that says so."""

    ONE = "application/cloudevents+json"
    BATCH = "application/cloudevents-batch+json"
    LINES = "application/x-ndjson"
    BINARY = "application/json"


_OTHER_NAMES: Final = {"application/ndjson": Format.LINES}


def format_of(content_type: str | None, headers: Iterable[str]) -> Format:
    """The format that a content type and the names of the headers tell. Raises `Problem` 415 for another one."""
    media_type, _, parameters = (content_type or "").partition(";")
    media_type = media_type.strip().lower()
    charset = re.search(r"charset\s*=\s*\"?([^\s;\"]+)", parameters, re.IGNORECASE)
    if charset and charset[1].lower() not in {"utf-8", "utf8", "us-ascii"}:
        raise _unsupported(f"charset {charset[1]} is not understood; JSON is sent in UTF-8")
    for format_ in (Format.ONE, Format.BATCH, Format.LINES):
        if media_type == format_.value:
            return format_
    if media_type in _OTHER_NAMES:
        return _OTHER_NAMES[media_type]
    if any(name.lower().startswith(_PREFIX) for name in headers):
        if media_type == Format.BINARY.value:
            return Format.BINARY
        raise _unsupported(
            f"the data of an event in binary mode must be application/json, not {media_type or 'nothing'}"
        )
    raise _unsupported(
        f"Content-Type is {media_type or 'missing'}; send {Format.ONE.value}, {Format.BATCH.value}, "
        f"{Format.LINES.value}, or {Format.BINARY.value} with the attributes in ce-* headers"
    )


def _unsupported(detail: str) -> Problem:
    return Problem(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail, headers={"Accept": ", ".join(format_.value for format_ in Format)}
    )


def events_of(body: bytes, format_: Format, headers: Iterable[tuple[str, str]], most: int) -> list[bytes]:
    """The text of each event, in order: without blanks around it, and in one line, so that it fits in a record of many.

    Raises `Problem`: 400 if the body can't be taken apart, 413 once there are more than `most`; then it says nothing
    about single events.
    """
    match format_:
        case Format.ONE:
            return [in_one_line(body.strip(BLANKS))]
        case Format.LINES:
            lines = [line[0].rstrip(BLANKS) for line in islice(_LINE.finditer(body), most + 1)]
            if len(lines) > most:
                raise too_many(most)
            return lines
        case Format.BATCH:
            return elements_of(body, most)
        case Format.BINARY:
            return [in_one_line(_structured(body, headers))]


def _structured(body: bytes, headers: Iterable[tuple[str, str]]) -> bytes:
    """One event in binary mode as structured JSON: attributes from the headers, `data` exactly as it was sent."""
    try:
        decode_json(body)
    except orjson.JSONDecodeError as error:
        # Spliced in, it could add attributes of its own.
        raise broken(Reason.NOT_JSON, f"the data is not one JSON value: {error}") from error
    attributes: dict[str, str] = {}
    for header, value in headers:
        name = header.lower()
        if not name.startswith(_PREFIX):
            continue
        name = name.removeprefix(_PREFIX)
        if name in attributes:
            raise broken(Reason.DUPLICATE_KEY, f"the header {header} stands more than once")
        if not _ATTRIBUTE.fullmatch(name) or name in {"data", "datacontenttype"}:
            raise broken(Reason.BAD_VALUE, f"the header {header} is not a CloudEvents attribute")
        attributes[name] = _text_of(header, value)
    attributes["datacontenttype"] = "application/json"
    return orjson.dumps(_ordered(attributes))[:-1] + b',"data":' + body.strip(BLANKS) + b"}"


def _text_of(header: str, value: str) -> str:
    """A header's text: percent-encoded UTF-8, as the HTTP binding of CloudEvents says (3.1.3.2)."""
    # What is no ASCII has come in as bytes, which aiohttp keeps as surrogates.
    raw = unquote_to_bytes(value.strip().strip('"').encode("utf-8", "surrogateescape"))
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise broken(Reason.BAD_UTF8, f"the header {header} is not percent-encoded UTF-8") from error


def _ordered(attributes: Mapping[str, str]) -> dict[str, str]:
    """In the order that readers are fastest on, others last."""
    first = ("specversion", "type", "id", "source", "subject", "time")
    known = {name: attributes[name] for name in first if name in attributes}
    return {**known, **attributes}
