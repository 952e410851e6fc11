"""Settings of the HTTP ingest: frozen, checked, the unit in each name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fleetmeter_producers.errors import ClientSettingsError
from fleetmeter_producers.settings import ClientSettings, problems_of
from fleetmeter_producers.wire import EVENT_LIMIT_BYTES

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB


class IngestSettings(BaseModel):
    """What one ingest process takes in, and how it hands over to Kafka."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    body_limit_bytes: int = Field(
        8 * _MIB, ge=_KIB, le=256 * _MIB, description="Largest body, as it is sent and after decompression (413)."
    )
    batch_limit_events: int = Field(20_000, ge=1, le=1_000_000, description="Most events in a request (413).")
    event_limit_bytes: int = Field(
        EVENT_LIMIT_BYTES, ge=_KIB, le=64 * _MIB, description="Larger events are rejected; the workers' limit."
    )
    memory_limit_bytes: int = Field(
        128 * _MIB,
        ge=_MIB,
        le=64 * 1024 * _MIB,
        description="Of bodies that are read, judged or wait for the broker; beyond it requests get 503. A process "
        "takes up to four times as much, beside some 120 MiB.",
    )
    read_timeout_s: float = Field(30.0, gt=0, le=3600, description="How long a client may take to send its body (408).")
    ack_timeout_s: float = Field(
        15.0, ge=1, le=600, description="How long a request waits for the broker's acknowledgement; then 503."
    )
    retry_after_s: int = Field(2, ge=1, le=3600, description="What 503 tells clients to wait (Retry-After).")
    events_per_s: float | None = Field(
        None, gt=0, description="What a token may send a second on average, unless it has a rate of its own (429)."
    )
    burst_s: float = Field(10.0, gt=0, le=3600, description="So many seconds of a token's rate may come at once.")
    explained_errors: int = Field(
        100,
        ge=0,
        le=100_000,
        description="Rejected events of a request that are explained; others get a standard text.",
    )
    threads: int = Field(2, ge=1, le=64, description="For large bodies; small ones are judged at once.")
    inline_limit_bytes: int = Field(
        16 * _KIB, ge=0, le=_MIB, description="Bodies up to this size are not handed to a thread: that would cost more."
    )
    token_check_interval_s: float = Field(
        1.0,
        gt=0,
        le=3600,
        description="How often the token file is looked at: a revoked token works no longer than this.",
    )
    drain_limit_s: float = Field(30.0, gt=0, le=3600, description="How long requests in flight may take after SIGTERM.")
    record_events: int = Field(1_000, ge=1, le=10_000, description="Most events of a Kafka record.")
    record_bytes: int = Field(
        512 * _KIB, ge=_KIB, le=8 * _MIB, description="About so many bytes of events in a Kafka record."
    )
    linger_ms: int = Field(5, ge=0, le=10_000, description="How long a record waits for company in its batch.")
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = Field("lz4", description="Of record batches.")

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.event_limit_bytes > self.body_limit_bytes:
            raise ValueError(
                f"event_limit_bytes ({self.event_limit_bytes}) must not be above body_limit_bytes "
                f"({self.body_limit_bytes})"
            )
        if self.linger_ms >= self.ack_timeout_s * 1000:
            raise ValueError(f"linger_ms ({self.linger_ms}) must be below ack_timeout_s ({self.ack_timeout_s} s)")
        if 2 * self.body_limit_bytes > self.memory_limit_bytes:
            raise ValueError(
                f"memory_limit_bytes ({self.memory_limit_bytes}) must be at least twice body_limit_bytes "
                f"({self.body_limit_bytes}): a body and what it is decompressed to have to fit"
            )
        return self

    @classmethod
    def of(cls, **options: Any) -> Self:
        """Settings out of options; raises `ClientSettingsError` with one line for each problem."""
        try:
            return cls(**options)
        except ValidationError as error:
            raise ClientSettingsError(problems_of(error)) from error

    def client(self, kafka: Mapping[str, Any]) -> ClientSettings:
        """How Kafka's client library sends: acks=all and idempotent, as `UsageClient` does. `kafka` has encryption and
        login."""
        return ClientSettings.of(
            outbox="memory",
            linger_ms=self.linger_ms,
            batch="ndjson",
            batch_events=self.record_events,
            batch_bytes=self.record_bytes,
            compression=self.compression,
            event_limit_bytes=self.event_limit_bytes,
            send_buffer_bytes=min(self.memory_limit_bytes, 1024 * _MIB),
            # Nobody waits for a record any longer once its request was answered; the client sends it again.
            delivery_timeout_s=self.ack_timeout_s,
            kafka=dict(kafka),
        )
