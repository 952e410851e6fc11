"""Which outbox a client has, by its settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fleetmeter_producers.errors import ClientSettingsError
from fleetmeter_producers.outbox import MemoryOutbox, Outbox
from fleetmeter_producers.settings import ClientSettings

_SEGMENT_BYTES: Final = 16 * 1024 * 1024
_SEGMENTS_AT_LEAST: Final = 8  # room is given back by whole segments


def outbox_opener(settings: ClientSettings, source: str, topic: str) -> Callable[[], Outbox]:
    """What makes a client's outbox, once for each process. Raises `ClientSettingsError` if the spool can't be used."""
    limit_bytes = settings.outbox_bytes
    if settings.outbox == "memory":
        return lambda: MemoryOutbox(limit_bytes)
    try:
        from fleetmeter_producers.spool.outbox import SpoolOutbox  # noqa: PLC0415  (needs POSIX)
        from fleetmeter_producers.spool.place import default_spool_dir, prepare_source_folder  # noqa: PLC0415
    except ImportError as error:
        raise ClientSettingsError(
            f"outbox: the spool needs the file locks of POSIX, which this system does not have ({error}); "
            "set outbox='memory'"
        ) from error
    folder = prepare_source_folder(settings.spool_dir or default_spool_dir(), source, topic)
    return lambda: SpoolOutbox(
        folder,
        limit_bytes=limit_bytes,
        segment_bytes=min(_SEGMENT_BYTES, limit_bytes // _SEGMENTS_AT_LEAST),
        reserve_bytes=settings.spool_reserve_bytes,
        sync=settings.spool_sync,
    )
