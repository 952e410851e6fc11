"""Errors of the producers.

    ProducerError                  domain, retryable; the message says what happened, where, and what to do
    ├── ClientSettingsError        input      a setting of the client, the simulator or a replay has a bad value
    ├── ClientClosedError          input      emit after close
    ├── OutboxFullError            kafka      retryable: there is no room for the event (policies `raise` and `block`)
    ├── UndeliveredError           kafka      retryable: the broker did not acknowledge everything that was sent
    ├── DeviceStoreError           internal   retryable: the file with a device's counts can't be read or written
    ├── SamplerDropsSpansError     input      OpenTelemetry's sampler may drop spans, whose usage would be missing
    ├── LoadError                  internal   a producer of a load ended by itself
    ├── SpoolError                 input      a folder is no spool, or can't be read
    ├── TokenFileError             input      the file of ingest's tokens can't be read, or an entry of it is wrong
    └── TraceError                 input      a trace file can't be read; names the line and the column

What the event contract refuses raises `fleetmeter_schemas.EventRejected`, wherever it is found.

`domain` is one of `input`, `kafka`, `internal`: where to look. `retryable` means that trying again, with nothing
changed, may succeed; an event keeps its id, so trying again never counts it twice.
"""

from __future__ import annotations

from typing import ClassVar, Literal

Domain = Literal["input", "kafka", "internal"]


class ProducerError(Exception):
    """Base of everything that the producers raise on purpose."""

    domain: ClassVar[Domain] = "internal"
    retryable: ClassVar[bool] = False


class ClientSettingsError(ProducerError):
    """A setting has a bad value, or Kafka's client library refuses it. The message names it."""

    domain: ClassVar[Domain] = "input"


class ClientClosedError(ProducerError):
    """`emit` was called on a client after `close`. The event was not accepted."""

    domain: ClassVar[Domain] = "input"


class OutboxFullError(ProducerError):
    """The outbox is full: the broker has been away, or too slow, for too long. The event was not accepted."""

    domain: ClassVar[Domain] = "kafka"
    retryable: ClassVar[bool] = True


class UndeliveredError(ProducerError):
    """The broker did not acknowledge some records in time; whether it has them is not known."""

    domain: ClassVar[Domain] = "kafka"
    retryable: ClassVar[bool] = True


class SamplerDropsSpansError(ProducerError):
    """The sampler of a tracer provider may drop spans, and with them usage. The message says which one would not."""

    domain: ClassVar[Domain] = "input"


class LoadError(ProducerError):
    """A process that emits a load ended by itself. The message says which one, and why."""


class SpoolError(ProducerError):
    """A folder that was named is no spool, or can't be read. The message names it."""

    domain: ClassVar[Domain] = "input"


class DeviceStoreError(ProducerError):
    """The file with a device's counts can't be read or written. The message names it."""

    retryable: ClassVar[bool] = True


class TokenFileError(ProducerError):
    """The file with the HTTP ingest's tokens can't be used as it is, or has no such token. The message names it."""

    domain: ClassVar[Domain] = "input"


class TraceError(ProducerError):
    """A trace file is not what a replay needs. The message names file, line and column; nothing was sent."""

    domain: ClassVar[Domain] = "input"
