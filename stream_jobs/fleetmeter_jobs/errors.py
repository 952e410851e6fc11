"""Errors of the stream jobs.

    JobError                       domain, retryable; the message says what happened, where, and what to do
    ├── SettingsError              input      a FLEETMETER_* variable or option is unknown or has a bad value
    ├── KafkaUnavailableError      kafka      retryable: the broker does not answer
    ├── KafkaAccessError           kafka      the broker refuses the login, or has a certificate that is not trusted
    ├── TopicMissingError          kafka      retryable: there is no such topic (yet)
    ├── TopicReplacedError         kafka      retryable: another topic has the name now; the next look says what to do
    ├── TopicRefusedError          kafka      the topic can't be counted exactly as it is configured
    ├── PartitionsAddedError       kafka      the topic has partitions that nobody told the ledger of
    ├── PartitionGrowingError      kafka      retryable: partitions are being added, and this one waits for its turn
    ├── LogMismatchError           kafka      the ledger's position and the Kafka log don't belong together
    ├── OffsetGapError             kafka      offsets are missing inside the log
    ├── DamagedBatchError          kafka      a record batch that can't be decoded
    ├── CountingError              internal   the native core could not take a batch
    ├── CoreMissingError           input      the native core is not installed
    └── (ledger/errors.py)         clickhouse the ledger's own

`domain` is one of `input`, `kafka`, `clickhouse`, `internal`: where to look. `retryable` means that trying again, with
nothing changed, may succeed without
counting anything twice; an error that is not retryable stops the partition (or, before the start, the worker).
`mendable` means that somebody can mend the cause while the worker runs: a partition that stopped looks again now and
then (`recheck_interval_s`), and goes on by itself once it is mended.
"""

from __future__ import annotations

from typing import ClassVar, Literal

Domain = Literal["input", "kafka", "clickhouse", "internal"]


class JobError(Exception):
    """Base of everything that the stream jobs raise on purpose."""

    domain: ClassVar[Domain] = "internal"
    retryable: ClassVar[bool] = False
    mendable: ClassVar[bool] = False


class SettingsError(JobError):
    """A setting is unknown or has a bad value. The message has one line for each."""

    domain: ClassVar[Domain] = "input"


class KafkaUnavailableError(JobError):
    """The broker does not answer, or answers that it can't serve now."""

    domain: ClassVar[Domain] = "kafka"
    retryable: ClassVar[bool] = True


class KafkaAccessError(JobError):
    """The broker refuses the login or the client's certificate, or its own certificate is not trusted.

    The same settings fail again until somebody changes the broker. So a worker that starts ends, as with a wrong
    password for ClickHouse; one that counts goes on with the connections that it has.
    """

    domain: ClassVar[Domain] = "kafka"
    mendable: ClassVar[bool] = True


class TopicMissingError(JobError):
    """There is no such topic. It may have been created a moment ago, or will be: brokers learn of it one by one."""

    domain: ClassVar[Domain] = "kafka"
    retryable: ClassVar[bool] = True


class TopicReplacedError(JobError):
    """The topic was deleted and made again while it was read. Looking again compares its log with the ledger."""

    domain: ClassVar[Domain] = "kafka"
    retryable: ClassVar[bool] = True


class TopicRefusedError(JobError):
    """The topic is configured in a way that makes exact counting impossible, or may not be read."""

    domain: ClassVar[Domain] = "kafka"
    mendable: ClassVar[bool] = True


class PartitionsAddedError(JobError):
    """The topic has partitions that nobody told the ledger of: sources have moved between logs, and what is sent again
    could be counted twice. `fleetmeter topic grow` makes up for it."""

    domain: ClassVar[Domain] = "kafka"
    mendable: ClassVar[bool] = True


class PartitionGrowingError(JobError):
    """Partitions are being added to the topic, and this one has to wait until others have come far enough."""

    domain: ClassVar[Domain] = "kafka"
    retryable: ClassVar[bool] = True


class LogMismatchError(JobError):
    """The ledger's position does not lie in this Kafka log: before its start, beyond its end, or in another log. A
    person decides what that means."""

    domain: ClassVar[Domain] = "kafka"
    mendable: ClassVar[bool] = True


class OffsetGapError(JobError):
    """Offsets are missing inside the log, so that records could be lost without a trace."""

    domain: ClassVar[Domain] = "kafka"
    mendable: ClassVar[bool] = True


class DamagedBatchError(JobError):
    """A record batch can't be decoded: CRC, format, codec, or it is too large. Skipping it would lose events, so the
    partition stops before it."""

    domain: ClassVar[Domain] = "kafka"
    mendable: ClassVar[bool] = True


class CountingError(JobError):
    """The native core could not take a record batch although every input has a defined outcome: a defect, or memory ran
    out."""

    domain: ClassVar[Domain] = "internal"


class CoreMissingError(JobError):
    """The native core is not installed: producers work without it, jobs don't."""

    domain: ClassVar[Domain] = "input"
