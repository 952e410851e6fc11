"""CloudEvents in Kafka's binary mode (attributes in `ce_*` headers, data in the value), rewritten to the structured
mode that the native core reads.

Follows the CloudEvents Kafka protocol binding 1.0.2, section 3.2. A slow path: a fleet that sends many events uses a
structured mode.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence

import orjson
from fleetmeter_schemas.decoding import decode_json

Headers = Sequence[tuple[str, bytes | None]]

_PREFIX = "ce_"
_CONTENT_TYPE = "content-type"
_STRUCTURED = b"application/cloudevents"
_JSON_ESCAPES = re.compile(rb'[\x00-\x1f"\\]')


def is_binary_mode(headers: Headers) -> bool:
    """Whether the record's headers carry CloudEvents attributes. A structured content type wins over stray `ce_*`
    headers, as the binding demands."""
    structured = any(
        key.lower() == _CONTENT_TYPE and value is not None and value.lower().startswith(_STRUCTURED)
        for key, value in headers
    )
    return not structured and any(key.startswith(_PREFIX) for key, _ in headers)


def to_structured(headers: Headers, value: bytes | None) -> bytes:
    """One CloudEvent as a JSON object: the attributes from the headers, `data` exactly the bytes that were sent.

    Nothing is judged here: a repeated attribute stands there twice, bytes that are no UTF-8 stay, a null header is
    null, so that the core rejects them with its
    own reasons. Data that is not one JSON value goes to `data_base64` (spliced in raw it could add attributes of its
    own), and the core misses `data`.
    """
    members = [b'"datacontenttype":"application/json"']
    members += [
        _string(key[len(_PREFIX) :].encode()) + b":" + _string(text) for key, text in headers if key.startswith(_PREFIX)
    ]
    if value is not None:
        members.append(b'"data":' + value if _is_json(value) else b'"data_base64":"' + base64.b64encode(value) + b'"')
    return b"{" + b",".join(members) + b"}"


def _string(raw: bytes | None) -> bytes:
    if raw is None:
        return b"null"
    return b'"' + _JSON_ESCAPES.sub(lambda match: b"\\u%04x" % match[0][0], raw) + b'"'


def _is_json(value: bytes) -> bool:
    try:
        decode_json(value)
    except orjson.JSONDecodeError:
        return False
    return True
