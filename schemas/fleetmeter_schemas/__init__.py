"""The event contract of fleetmeter: what a usage event is, and everything that follows from it.

Each field is declared once, in `fleetmeter_schemas.events`, with its role, cap and meaning. The JSON Schema files, the
Arrow schemas, the native core's field table, the columns of the tables and the documentation are derived from there.
"""

from typing import TYPE_CHECKING, Any

from fleetmeter_schemas.envelope import Event, EventRejected, parse_event
from fleetmeter_schemas.events import (
    EVENT_TYPES,
    AdjustmentV1,
    DeviceReportV1,
    EventData,
    FallbackV1,
    GenerationV1,
    JobV1,
    OutcomeV1,
)
from fleetmeter_schemas.explain import explain
from fleetmeter_schemas.native_spec import native_spec
from fleetmeter_schemas.reasons import Reason
from fleetmeter_schemas.timestamps import format_rfc3339, parse_rfc3339

if TYPE_CHECKING:
    from fleetmeter_schemas.catalogue import Catalogue, ModelEntry, load_catalogue

__all__ = [
    "EVENT_TYPES",
    "AdjustmentV1",
    "Catalogue",
    "DeviceReportV1",
    "Event",
    "EventData",
    "EventRejected",
    "FallbackV1",
    "GenerationV1",
    "JobV1",
    "ModelEntry",
    "OutcomeV1",
    "Reason",
    "explain",
    "format_rfc3339",
    "load_catalogue",
    "native_spec",
    "parse_event",
    "parse_rfc3339",
]


def __getattr__(name: str) -> Any:
    """What is in the catalogue is imported when it is asked for: most producers never do."""
    if name in {"Catalogue", "ModelEntry", "load_catalogue"}:
        from fleetmeter_schemas import catalogue  # noqa: PLC0415

        return getattr(catalogue, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
