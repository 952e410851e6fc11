"""The OpenAPI 3.1 document of the HTTP ingest, made from the event contract."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from fleetmeter_schemas.envelope import ATTRIBUTE_LENGTHS
from fleetmeter_schemas.events import EVENT_TYPES
from fleetmeter_schemas.json_schema import json_schema
from fleetmeter_schemas.reasons import Reason

from fleetmeter_producers.ingest.framing import Format
from fleetmeter_producers.ingest.problem import CONTENT_TYPE
from fleetmeter_producers.ingest.sifting import FORBIDDEN

VERSION: Final = "1.0"
"""Of the interface; it changes with what clients have to know."""

_RETRY_AFTER: Final = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}
_PROBLEMS: Final[dict[HTTPStatus, tuple[str, dict[str, Any]]]] = {
    HTTPStatus.BAD_REQUEST: ("No event was good, or the body can't be taken apart. Nothing was taken.", {}),
    HTTPStatus.UNAUTHORIZED: (
        "The token is missing, unknown, revoked or expired.",
        {"WWW-Authenticate": {"description": "Bearer.", "schema": {"type": "string"}}},
    ),
    HTTPStatus.FORBIDDEN: ("The token allows none of the events' sources and accounts. Nothing was taken.", {}),
    HTTPStatus.REQUEST_TIMEOUT: ("The body did not come in time.", {}),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("The body, or its number of events, is above the limit.", {}),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: ("Content-Type or Content-Encoding is not understood.", {}),
    HTTPStatus.TOO_MANY_REQUESTS: ("The token has sent more than its rate allows. Nothing was taken.", _RETRY_AFTER),
    HTTPStatus.INTERNAL_SERVER_ERROR: ("A defect. Send again, with the same ids.", {}),
    HTTPStatus.SERVICE_UNAVAILABLE: (
        "Kafka is away or too slow. Some events may be in Kafka already: send again, with the same ids.",
        _RETRY_AFTER,
    ),
}
_EXAMPLE: Final = {
    "specversion": "1.0",
    "type": "fleetmeter.generation.v1",
    "id": "chatcmpl-8f1c",
    "source": "urn:example:gateway-1",
    "subject": "acct-42",
    "time": "2026-03-01T12:00:00Z",
    "data": {"model": "llada-8b-instruct", "generation_mode": "diffusion", "input_tokens": 400, "output_tokens": 128},
}


def openapi() -> dict[str, Any]:
    """The document."""
    event = {"$ref": "#/components/schemas/Event"}
    line = "One event in structured mode a line."
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fleetmeter ingest",
            "version": VERSION,
            "summary": "Usage events over HTTP.",
            "description": "CloudEvents 1.0 over HTTP. 202 comes when Kafka has acknowledged everything that was "
            "accepted. (source, id) is an event's identity: whatever is sent again counts once.",
        },
        "security": [{"token": []}],
        "paths": {
            "/v1/events": {
                "post": {
                    "operationId": "sendEvents",
                    "summary": "Send events.",
                    "description": "Good events are taken, and the others told by their index. The body may be "
                    "compressed: Content-Encoding gzip or zstd.",
                    "requestBody": {
                        "required": True,
                        "content": {
                            Format.ONE.value: {"schema": event, "example": _EXAMPLE},
                            Format.BATCH.value: {"schema": {"type": "array", "items": event}, "example": [_EXAMPLE]},
                            Format.LINES.value: {"schema": {"type": "string", "description": line}},
                            Format.BINARY.value: {
                                "schema": {
                                    "type": "object",
                                    "description": "Binary mode: `data` alone; attributes in ce-* headers.",
                                }
                            },
                        },
                    },
                    "parameters": [
                        {
                            "name": f"ce-{name}",
                            "in": "header",
                            "required": False,
                            "description": f"Binary mode only: the attribute {name}, percent-encoded.",
                            "schema": {"type": "string", "minLength": 1},
                        }
                        for name in ("specversion", "type", *ATTRIBUTE_LENGTHS, "time")
                    ],
                    "responses": {
                        "202": {
                            "description": "Kafka has what was accepted. Events in `errors` were not taken.",
                            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Accepted"}}},
                        },
                        **{
                            str(int(status)): _problem_response(words, headers)
                            for status, (words, headers) in _PROBLEMS.items()
                        },
                    },
                }
            },
            "/healthz": {"get": _plain("live", "Whether the process answers.", "Live")},
            "/readyz": {
                "get": _plain("ready", "Whether Kafka takes what is sent.", "Ready", not_ready="Ready"),
            },
            "/metrics": {
                "get": {
                    "operationId": "metrics",
                    "summary": "Metrics for Prometheus.",
                    "security": [],
                    "responses": {
                        "200": {"description": "Metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}
                    },
                }
            },
            "/openapi.json": {"get": _plain("document", "This document.", "Document")},
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "fm_<id>_<secret>"}},
            "schemas": _schemas(),
        },
    }


def _schemas() -> dict[str, Any]:
    events = {model.SHORT: _embedded(json_schema(model)) for model in EVENT_TYPES.values()}
    accepted = {
        "accepted": {"type": "integer", "minimum": 0, "description": "Events that Kafka has."},
        "rejected": {"type": "integer", "minimum": 0, "description": "Events that were not taken."},
        "errors": {"type": "array", "items": {"$ref": "#/components/schemas/EventError"}},
    }
    return {
        "Event": {"oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in events]},
        **events,
        "Accepted": {
            "type": "object",
            "required": list(accepted),
            "properties": accepted,
            "additionalProperties": False,
        },
        "EventError": {
            "type": "object",
            "required": ["index", "reason", "field", "message"],
            "properties": {
                "index": {"type": "integer", "minimum": 0, "description": "Place in the request, from 0."},
                "reason": {"enum": [*(reason.code for reason in Reason), FORBIDDEN]},
                "field": {"type": "string", "description": "Attribute or data.<name> at fault; may be empty."},
                "message": {"type": "string", "description": "What was wrong and what to do."},
            },
            "additionalProperties": False,
        },
        "Problem": {
            "type": "object",
            "description": "RFC 9457. With 400 and 403, also what `Accepted` has.",
            "required": ["type", "title", "status", "detail"],
            "properties": {
                "type": {"type": "string"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string", "description": "What was wrong and what to do."},
                "reason": {"type": "string", "description": "Why the body can't be taken apart."},
                **accepted,
            },
        },
        "Live": {"type": "object", "required": ["live"], "properties": {"live": {"const": True}}},
        "Ready": {
            "type": "object",
            "required": ["ready"],
            "properties": {"ready": {"type": "boolean"}, "error": {"type": "string"}},
        },
        "Document": {"type": "object", "required": ["openapi"], "properties": {"openapi": {"type": "string"}}},
    }


def _embedded(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema as part of this document: what names it as a document of its own is left out."""
    return {key: value for key, value in schema.items() if key not in {"$schema", "$id"}}


def _problem_response(words: str, headers: dict[str, Any]) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": words,
        "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    return {**response, "headers": headers} if headers else response


def _plain(name: str, summary: str, schema: str, *, not_ready: str | None = None) -> dict[str, Any]:
    def answer(words: str, of: str) -> dict[str, Any]:
        return {
            "description": words,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{of}"}}},
        }

    responses = {"200": answer("Yes.", schema)}
    if not_ready:
        responses["503"] = answer("Not now.", not_ready)
    return {"operationId": name, "summary": summary, "security": [], "responses": responses}
