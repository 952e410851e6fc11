"""The spool: an outbox on disk, which outlives its process."""

from fleetmeter_producers.spool.outbox import SpoolOutbox

__all__ = ["SpoolOutbox"]
