"""Metering gateways: what providers report, read once and correctly; and requests that try the device first.

`read_usage` and `UsageStream` turn an answer or a stream of any provider in `CONVENTIONS` into fields of
`GenerationV1`. `Gateway` meters calls and whole requests: local attempts, why they fell back, and the one generation
that is billed.
"""

from fleetmeter_producers.gateway.attempt import Attempt
from fleetmeter_producers.gateway.call import Call
from fleetmeter_producers.gateway.conventions import CONVENTIONS
from fleetmeter_producers.gateway.notes import NOTES, Note, NoteCode
from fleetmeter_producers.gateway.routing import Gateway, Request
from fleetmeter_producers.gateway.usage import Usage, UsageStream, read_usage

__all__ = [
    "CONVENTIONS",
    "NOTES",
    "Attempt",
    "Call",
    "Gateway",
    "Note",
    "NoteCode",
    "Request",
    "Usage",
    "UsageStream",
    "read_usage",
]
