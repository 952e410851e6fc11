"""The native core of fleetmeter: parse, judge, deduplicate and aggregate usage events, in Rust, without the GIL.

`Core` is the state of one Kafka partition: `ingest` takes record values, `flush` gives the deltas since the last flush
as Arrow, and the new ids as a blob that belongs in the same commit. The contract of each call stands in `_core.pyi`.

Needs the compiled extension; where the install found no Rust toolchain, importing this package says how to get it.
"""

from __future__ import annotations

try:
    from fleetmeter_native._core import (
        REASONS,
        ArrowBatch,
        ChunkFold,
        Core,
        Flush,
        Ingested,
        blob_stats,
        explain_reason,
        record_values,
    )
except ModuleNotFoundError as error:
    if error.name != "fleetmeter_native._core":
        raise
    raise ImportError(
        "fleetmeter's native core is not built; jobs need it, producers do not. Install a Rust toolchain "
        "(https://rustup.rs), then install fleetmeter again: pip install --force-reinstall --no-deps fleetmeter, "
        "or in a checkout: pip install -e .",
        name=error.name,
    ) from error

__all__ = [
    "REASONS",
    "ArrowBatch",
    "ChunkFold",
    "Core",
    "Flush",
    "Ingested",
    "blob_stats",
    "explain_reason",
    "record_values",
]
