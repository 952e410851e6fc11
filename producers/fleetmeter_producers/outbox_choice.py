"""Which outbox a client has, by its settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fleetmeter_producers.errors import ClientSettingsError
from fleetmeter_producers.outbox import MemoryOutbox, Outbox
from fleetmeter_producers.settings import ClientSettings

_MIB: Final = 1024 * 1024
_SEGMENT_BYTES: Final = 16 * _MIB
_SEGMENT_LIMIT_BYTES: Final = 1024 * _MIB
_SEGMENTS_AT_LEAST: Final = 8  # room is given back by whole segments
_SEGMENTS_AT_MOST: Final = 64  # each is an open file, of which a server has use for its own (often 1,024 in all)


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
        segment_bytes=segment_bytes_for(limit_bytes),
        reserve_bytes=settings.spool_reserve_bytes,
        sync=settings.spool_sync,
    )


def segment_bytes_for(limit_bytes: int) -> int:
    """How large the files are of a spool that may take so much."""
    wanted = max(_SEGMENT_BYTES, limit_bytes // _SEGMENTS_AT_MOST)
    return min(wanted, _SEGMENT_LIMIT_BYTES, limit_bytes // _SEGMENTS_AT_LEAST)
