"""What a load is asked for."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fleetmeter_producers.errors import ClientSettingsError
from fleetmeter_producers.settings import problems_of


class LoadConfig(BaseModel):
    """The rate is that of all producers together; each of them has the same part of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    events_per_s: float = Field(1_000, gt=0, le=1_000_000, description="Events a second, of all producers together.")
    duration_s: float = Field(30, gt=0, le=7 * 86_400, description="For how long events are emitted.")
    producers: int = Field(1, ge=1, le=64, description="Processes that emit.")
    batch: Literal["none", "ndjson", "arrow"] = Field("none", description="Events in a record, as in ClientSettings.")
    spool: bool = Field(True, description="Whether events wait on disk, or in memory.")
    drain_s: float = Field(60, ge=0, le=86_400, description="How long to wait at the end for what is not delivered.")

    @classmethod
    def of(cls, **options: Any) -> Self:
        """A config out of options; raises `ClientSettingsError` with one line for each problem."""
        try:
            return cls(**options)
        except ValidationError as error:
            raise ClientSettingsError(problems_of(error)) from error
