"""The native core alone: events a second on one core, from Python's list of values to the flushed deltas."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from fleetmeter_native import Core
from fleetmeter_schemas import native_spec

from fleetmeter_bench.measure import Speed, speed
from fleetmeter_bench.workload import EVENTS_A_RECORD, FORMATS, Format, Ids, crowd_record, in_batches, records_of, rows

NOW_US: Final = 1_772_366_400_000_000
EVENTS_A_CALL: Final = 20_000
CROWD_STEP: Final = 50_000
IDS: Final[tuple[Ids, ...]] = ("sequenced", "foreign")
DAY_US: Final = 86_400_000_000
HASH_KEY: Final = bytes(range(16))


@dataclass(frozen=True)
class NativeSpeed:
    """Speeds of one wire format by what deduplication has to remember."""

    format: Format
    bytes_an_event: float
    sequenced: Speed
    foreign: Speed
    without: Speed
    """The events of `sequenced`, by a core that does not deduplicate."""
    resent: Speed
    crowded: Speed | None
    """Foreign ids while the core knows many others; None if not asked for."""


def native_speeds(events: int, known_ids: int, seconds: float) -> Iterator[NativeSpeed]:
    """Speeds of each wire format. With `known_ids`, also beside so many foreign ids that are known already."""
    crowd = _crowd_blob(known_ids) if known_ids else b""
    by_ids = {ids: list(rows(events, ids, now_us=NOW_US)) for ids in IDS}
    for format_ in FORMATS:
        sequenced, foreign = (records_of(format_, by_ids[ids]) for ids in IDS)
        yield NativeSpeed(
            format=format_,
            bytes_an_event=sum(map(len, sequenced)) / events,
            sequenced=speed(_new_events(format_, sequenced, events), seconds=seconds),
            foreign=speed(_new_events(format_, foreign, events), seconds=seconds),
            without=speed(_new_events(format_, sequenced, events, deduplicate=False), seconds=seconds),
            resent=speed(_resent(format_, foreign, events), seconds=seconds),
            crowded=speed(_new_events(format_, foreign, events, crowd), seconds=seconds, most_runs=3)
            if crowd
            else None,
        )


def new_core(*, deduplicate: bool = True) -> Core:
    """A core with the defaults of a worker, which always deduplicates."""
    return Core(
        native_spec(),
        HASH_KEY,
        horizon_us=35 * DAY_US,
        future_us=300_000_000,
        record_limit_bytes=8 * 2**20,
        event_limit_bytes=256 * 2**10,
        label_keys=["app", "environment", "experiment", "feature", "team"],
        label_sets_per_account_hour=1000,
        deduplicate=deduplicate,
    )


def _new_events(
    format_: Format, values: list[bytes], events: int, crowd: bytes = b"", *, deduplicate: bool = True
) -> Callable[[], Callable[[], int]]:
    calls = _calls(format_, values)

    def prepare() -> Callable[[], int]:
        core = new_core(deduplicate=deduplicate)
        if crowd:
            core.restore(crowd)
        return lambda: _ingest(core, calls, accepted=events)

    return prepare


def _resent(format_: Format, values: list[bytes], events: int) -> Callable[[], Callable[[], int]]:
    calls = _calls(format_, values)
    core = new_core()
    _ingest(core, calls, accepted=events)
    return lambda: lambda: _ingest(core, calls, accepted=0) or events


def _calls(format_: Format, values: list[bytes]) -> list[list[bytes | None]]:
    """Values by call, as a fetch would bring them."""
    return [[*batch] for batch in in_batches(values, max(1, EVENTS_A_CALL // EVENTS_A_RECORD[format_]))]


def _ingest(core: Core, calls: list[list[bytes | None]], accepted: int) -> int:
    """Ingest and flush; a speed of events that were not counted would say nothing, so that is checked."""
    offset = 0
    for values in calls:
        core.ingest(values, offset, NOW_US)
        offset += len(values)
    flush = core.flush()
    if (flush.accepted, flush.rejected) != (accepted, 0):
        raise RuntimeError(
            f"{flush.accepted} accepted and {flush.rejected} rejected where {accepted} were to be accepted"
        )
    return flush.accepted


def _crowd_blob(known_ids: int) -> bytes:
    """The dedup state of a core that has seen so many foreign ids."""
    core = new_core()
    for start in range(0, known_ids, CROWD_STEP):
        core.ingest([crowd_record(start, min(CROWD_STEP, known_ids - start), now_us=NOW_US)], start, NOW_US)
    if core.flush().accepted != known_ids:
        raise RuntimeError(f"the core does not know the {known_ids} ids that it was given")
    return core.snapshot()
