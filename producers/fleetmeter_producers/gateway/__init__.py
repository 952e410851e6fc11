"""Metering gateways: what providers report, read once and correctly.

`read_usage` and `UsageStream` turn an answer or a stream of any provider in `CONVENTIONS` into fields of
`GenerationV1`.
"""

from fleetmeter_producers.gateway.conventions import CONVENTIONS
from fleetmeter_producers.gateway.notes import NOTES, Note, NoteCode
from fleetmeter_producers.gateway.usage import Usage, UsageStream, read_usage

__all__ = ["CONVENTIONS", "NOTES", "Note", "NoteCode", "Usage", "UsageStream", "read_usage"]
