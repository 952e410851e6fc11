"""The native core, made ready for one partition."""

from __future__ import annotations

from functools import cache
from typing import Any

from fleetmeter_schemas import native_spec

from fleetmeter_jobs.errors import CoreMissingError
from fleetmeter_jobs.ledger.dedup.native import Native
from fleetmeter_jobs.settings import Settings

DAY_US = 86_400_000_000
SECOND_US = 1_000_000


def new_core(settings: Settings, hash_key: bytes) -> Any:
    """An empty `fleetmeter_native.Core`. Raises CoreMissingError, which says how to get it."""
    return _native_module().Core(
        _spec(),
        hash_key,
        horizon_us=settings.horizon_days * DAY_US,
        future_us=settings.future_limit_s * SECOND_US,
        record_limit_bytes=settings.record_limit_bytes,
        event_limit_bytes=settings.event_limit_bytes,
        label_keys=settings.label_keys,
        label_sets_per_account_hour=settings.label_sets_per_account_hour,
    )


def dedup_native() -> Native:
    """What folds and reads blobs. Raises CoreMissingError, as above."""
    module = _native_module()
    return Native(module.ChunkFold, module.blob_stats)


def _native_module() -> Any:
    try:
        import fleetmeter_native  # noqa: PLC0415  (an install without it is a working producer)
    except ImportError as error:
        raise CoreMissingError(
            "fleetmeter's native core is not installed. Install a Rust toolchain (https://rustup.rs), then run "
            "`pip install --force-reinstall --no-deps fleetmeter`, or `pip install -e .` in a clone"
        ) from error
    return fleetmeter_native


@cache
def _spec() -> bytes:
    return native_spec()
