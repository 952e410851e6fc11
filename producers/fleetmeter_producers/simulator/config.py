"""What a simulation is asked for: its size, its faults, its wire formats. Rates are shares of all events sent."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from fleetmeter_producers.errors import ClientSettingsError
from fleetmeter_producers.settings import problems_of
from fleetmeter_producers.wire import EVENT_LIMIT_BYTES

WireFormat = Literal["json", "array", "ndjson", "arrow"]
_Rate = Annotated[float, Field(ge=0, le=1)]
ONLY_JSON: Final = MappingProxyType[WireFormat, float]({"json": 1.0})


class SimulationConfig(BaseModel):
    """All options of the simulator. The same config with the same `end` makes the same bytes, on every machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    events: int = Field(
        200_000, ge=1, le=1_000_000_000, description="Events to send, duplicates and malformed ones included."
    )
    seed: int = Field(0, description="Where all chance comes from.")
    end: AwareDatetime | None = Field(None, description="Time of the last event; now if not given.")
    span_s: int = Field(3600, ge=1, le=20 * 86_400, description="Seconds over which the events' times are spread.")
    accounts: int = Field(60, ge=1, le=100_000, description="Accounts; their volumes follow Zipf's law.")
    servers: int = Field(36, ge=6, le=100_000, description="Servers and gateways, of all kinds together.")
    bodies_per_server: int = Field(
        128, ge=1, le=1_000_000, description="Different requests a server answers; then they come again."
    )
    duplicate_rate: _Rate = Field(0.03, description="Events sent again, with the same id.")
    malformed_rate: _Rate = Field(0.01, description="Events or records that must be refused, of every kind in turn.")
    late_rate: _Rate = Field(0.02, description="Events that come after their minute was complete.")
    late_limit_s: int = Field(6 * 3600, ge=300, le=10 * 86_400, description="How late they come at most.")
    disorder_rate: _Rate = Field(0.2, description="Events that come a little out of order.")
    disorder_limit_s: float = Field(30, ge=0, le=100, description="How much out of order they come at most.")
    foreign_rate: _Rate = Field(0.15, description="Servers whose ids are UUIDs instead of sequenced ids.")
    wire_formats: dict[WireFormat, Annotated[float, Field(ge=0)]] = Field(
        default_factory=lambda: dict(ONLY_JSON), min_length=1, description="Shares of servers that write each format."
    )
    batch_events: int = Field(50, ge=2, le=500, description="Events in a record of the formats that hold many.")
    events_per_s: float | None = Field(None, gt=0, description="Pace; as fast as possible if not given.")
    event_limit_bytes: int = Field(
        EVENT_LIMIT_BYTES, ge=4096, le=900_000, description="The workers' limit, which over-large events exceed."
    )
    horizon_days: int = Field(35, ge=1, le=400, description="The workers' horizon, in which good events must lie.")

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.duplicate_rate + self.malformed_rate > 0.9:
            raise ValueError("duplicate_rate and malformed_rate leave less than a tenth for good events")
        if self.late_rate + self.disorder_rate > 1:
            raise ValueError("late_rate and disorder_rate together are above 1")
        if not sum(self.wire_formats.values()) > 0:
            raise ValueError("wire_formats has no share above 0")
        if timedelta(seconds=self.span_s + self.late_limit_s) > timedelta(days=self.horizon_days) - timedelta(hours=1):
            raise ValueError("span_s and late_limit_s reach beyond horizon_days: good events would be refused")
        return self

    @classmethod
    def of(cls, **options: Any) -> Self:
        """A config out of options; raises `ClientSettingsError` with one line for each problem."""
        try:
            return cls(**options)
        except ValidationError as error:
            raise ClientSettingsError(problems_of(error)) from error

    def check_end(self, end: datetime, now: datetime) -> None:
        """Raise `ClientSettingsError` if a broker that appends now would have good events refused."""
        earliest = end - timedelta(seconds=self.span_s + self.late_limit_s)
        if end > now + timedelta(minutes=4) or earliest < now - timedelta(days=self.horizon_days) + timedelta(hours=1):
            raise ClientSettingsError(
                f"end {end.isoformat()}: events from {earliest.isoformat()} on would lie outside of the "
                f"{self.horizon_days} days that workers accept; choose an end nearer to now, or leave it out"
            )
