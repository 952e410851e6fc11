"""Settings of a client: frozen, checked, the unit in each name.

Annotations are evaluated as they stand, not kept as text that pydantic would have to parse: every producer pays for it.
"""

from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fleetmeter_producers.environment import kafka_from_environment
from fleetmeter_producers.errors import ClientSettingsError
from fleetmeter_producers.wire import EVENT_LIMIT_BYTES

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB

# What the promise of exactly once rests on; an option that could break it is refused rather than overridden.
_FIXED: Final = MappingProxyType(
    {
        "acks": "all",
        "enable.idempotence": True,
        # As Java's and aiokafka's clients place a key: a resend by another library lands in the same partition, where
        # its duplicate is found.
        "partitioner": "murmur2_random",
    }
)
_NAMED: Final = MappingProxyType(
    {
        "bootstrap.servers": "bootstrap",
        "metadata.broker.list": "bootstrap",
        "compression.type": "compression",
        "compression.codec": "compression",
        "linger.ms": "linger_ms",
        "queue.buffering.max.ms": "linger_ms",
        "message.timeout.ms": "delivery_timeout_s",
        "delivery.timeout.ms": "delivery_timeout_s",
        "queue.buffering.max.kbytes": "send_buffer_bytes",
        "queue.buffering.max.messages": "send_buffer_bytes",
        "message.max.bytes": "event_limit_bytes",
    }
)
_ALIASES: Final = frozenset(
    {
        "request.required.acks",
        "enable.gapless.guarantee",
        # Nobody would ever hear that an event has arrived, and all of them would wait for ever.
        "delivery.report.only.error",
        # A transaction that nobody begins takes no record, and none that nobody commits is read.
        "transactional.id",
    }
)


class ClientSettings(BaseModel):
    """How a client sends. The defaults suit an inference server; `kafka` has what only the site knows (TLS, SASL)."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    linger_ms: int = Field(20, ge=0, le=60_000, description="How long a record waits for company in its batch.")
    batch: Literal["none", "ndjson", "arrow"] = Field(
        "none",
        description="Events in a record: `none` is one; `ndjson` and `arrow` (needs pyarrow) gather what waits, which "
        "is cheaper for Kafka and the workers.",
    )
    batch_events: int = Field(500, ge=1, le=10_000, description="At most so many events in a record.")
    batch_bytes: int = Field(
        512 * _KIB, ge=_KIB, le=8 * _MIB, description="About so many bytes of JSON in a record, before compression."
    )
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = Field("lz4", description="Of record batches.")
    outbox: Literal["spool", "memory"] = Field(
        "spool",
        description="Where events wait for the broker's acknowledgement. `spool`: in files, which outlive the process. "
        "`memory`: what waits is lost with the process.",
    )
    spool_dir: Path | None = Field(
        None,
        description="Folder of spools; FLEETMETER_SPOOL_DIR, or fleetmeter/spool in the user's state directory, if not "
        "given. It must be on a local disk, and the same when the process starts again.",
    )
    spool_sync: bool = Field(
        False,
        description="Also survive a loss of power: `emit` then waits for the disk. Without, only kill -9 and the like.",
    )
    spool_reserve_bytes: int = Field(
        256 * _MIB, ge=0, description="So much of the disk is left free, whatever outbox_limit_bytes says."
    )
    outbox_limit_bytes: int | None = Field(
        None,
        ge=_MIB,
        description="For events that the broker has not acknowledged yet: 4 GiB of disk (spool) or 64 MiB of memory if "
        "not given.",
    )
    when_full: Literal["drop_newest", "raise", "block"] = Field(
        "drop_newest",
        description="What `emit` does when the outbox is full. `drop_newest`: the event is lost, counted and logged, "
        "and the request goes on. `raise`: OutboxFullError. `block`: wait for room, then OutboxFullError.",
    )
    when_full_wait_s: float = Field(1.0, gt=0, le=3600, description="How long `block` waits for room.")
    event_limit_bytes: int = Field(
        EVENT_LIMIT_BYTES, ge=_KIB, le=64 * _MIB, description="Larger events are refused; the workers' limit."
    )
    send_buffer_bytes: int = Field(
        8 * _MIB,
        ge=_MIB,
        le=1024 * _MIB,
        description="Records that Kafka's client library holds while they are sent; it takes about four times as much "
        "memory for them.",
    )
    delivery_timeout_s: float = Field(
        120.0,
        ge=1,
        le=86_400,
        description="After so long without acknowledgement a record is taken back and sent again.",
    )
    retry_wait_s: float = Field(0.2, gt=0, le=60, description="First wait after a failed delivery; it doubles.")
    retry_wait_limit_s: float = Field(10.0, gt=0, le=600, description="Longest wait between two tries.")
    exit_drain_s: float = Field(
        5.0, ge=0, le=600, description="How long a process that exits without `close` may wait for the broker."
    )
    kafka: dict[str, Annotated[str | int | float | bool, Field()]] = Field(
        default_factory=dict,
        repr=False,  # it may hold passwords
        description="Further options of librdkafka, such as security.protocol.",
    )

    @property
    def outbox_bytes(self) -> int:
        """The outbox's limit, as given or by its kind."""
        if self.outbox_limit_bytes is not None:
            return self.outbox_limit_bytes
        return 4096 * _MIB if self.outbox == "spool" else 64 * _MIB

    @field_validator("kafka")
    @classmethod
    def _leave_the_guarantees(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if name in _FIXED or name in _ALIASES:
                raise ValueError(f"{name} can't be set: exactly-once delivery rests on it")
            if name in _NAMED:
                raise ValueError(f"{name} is set through {_NAMED[name]}")
        return value

    @model_validator(mode="after")
    def _give_records_time(self) -> Self:
        # librdkafka would say so when there is a first event to send, to nobody, and again and again.
        if self.linger_ms >= self.delivery_timeout_s * 1000:
            raise ValueError(
                f"linger_ms ({self.linger_ms}) must be below delivery_timeout_s ({self.delivery_timeout_s} s): "
                "a record must not wait longer for company than for the broker"
            )
        return self

    @classmethod
    def from_environment(cls, **options: Any) -> Self:
        """Settings whose `kafka` has what the FLEETMETER_KAFKA_* variables say of encryption and login.

        They are those of the workers (docs/security.md). What `options` say wins, in `kafka` name by name. Raises
        `ClientSettingsError` as `of`, and for variables that are none or have no effect.
        """
        kafka = {**kafka_from_environment(), **options.get("kafka", {})}
        return cls.of(**{**options, "kafka": kafka})

    @classmethod
    def of(cls, **options: Any) -> Self:
        """Settings out of options; raises `ClientSettingsError` with one line for each problem."""
        try:
            return cls(**options)
        except ValidationError as error:
            raise ClientSettingsError(problems_of(error)) from error

    def librdkafka(self, bootstrap: str) -> dict[str, Any]:
        """The options of librdkafka's producer."""
        largest_bytes = max(self.event_limit_bytes, self.batch_bytes)
        return {
            **self.kafka,
            **_FIXED,
            "bootstrap.servers": bootstrap,
            "compression.type": self.compression,
            "linger.ms": self.linger_ms,
            "message.timeout.ms": int(self.delivery_timeout_s * 1000),
            # With room for one record, whatever its size: it would wait for that for ever, and all others behind it.
            "queue.buffering.max.kbytes": max(self.send_buffer_bytes, largest_bytes) // _KIB + 1,
            # The byte limit alone bounds the queue.
            "queue.buffering.max.messages": 10_000_000,
            # Above the largest event, below what brokers take by default (1 MiB and some).
            "message.max.bytes": max(1_000_000, largest_bytes + 64 * _KIB),
        }


def problems_of(error: ValidationError) -> str:
    """What is wrong with settings: one line for each, with the name, the problem and the value given."""
    lines = []
    for problem in error.errors(include_url=False):
        where = ".".join(map(str, problem["loc"]))
        message = problem["msg"].removeprefix("Value error, ")
        # Kafka's options hold passwords, which must not get into a log.
        given = "" if not where or where.startswith("kafka") else f" (given: {problem['input']!r})"
        lines.append(f"{where}: {message}{given}" if where else message)
    return "\n".join(lines)
