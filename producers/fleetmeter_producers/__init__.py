"""fleetmeter's producers: what inference fleets install to be metered.

`UsageClient` is all that a server needs; `matrix` counts the matrix operations of a generation from its model's shape.
`simulator` and `trace` make usage to try fleetmeter with. Importing this package imports neither Kafka's library (that
happens with the first event) nor anything of the jobs.
"""

from fleetmeter_producers.client import ClientStats, UsageClient
from fleetmeter_producers.errors import (
    ClientClosedError,
    ClientSettingsError,
    OutboxFullError,
    ProducerError,
    SpoolError,
    TraceError,
    UndeliveredError,
)
from fleetmeter_producers.outbox import MemoryOutbox, Outbox, Pending
from fleetmeter_producers.settings import ClientSettings

__all__ = [
    "ClientClosedError",
    "ClientSettings",
    "ClientSettingsError",
    "ClientStats",
    "MemoryOutbox",
    "Outbox",
    "OutboxFullError",
    "Pending",
    "ProducerError",
    "SpoolError",
    "TraceError",
    "UndeliveredError",
    "UsageClient",
]
