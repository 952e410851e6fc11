"""What lies in spools, for people: nothing is locked for long, sent or changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from fleetmeter_producers.errors import SpoolError
from fleetmeter_producers.spool.home import homes_in, is_orphan, segments_of
from fleetmeter_producers.spool.place import read_about
from fleetmeter_producers.spool.segment import Segment

_LOOKS: Final = 100


@dataclass(frozen=True, slots=True)
class HomeReport:
    """What one process has in its folder. `alive`: it runs, or another process is sending for it.

    `events` and `bytes` were accepted and, as far as the folder tells, not acknowledged; `first_time` and `last_time`
    are the times of the first and last of them. `damaged_files` hold events that could not be read.
    """

    folder: Path
    alive: bool
    events: int
    bytes: int
    first_time: str | None
    last_time: str | None
    damaged_files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SpoolReport:
    """What lies in the folder of one source and topic."""

    folder: Path
    source: str
    topic: str
    homes: tuple[HomeReport, ...]

    @property
    def events(self) -> int:
        """Events that wait in it."""
        return sum(home.events for home in self.homes)


def source_folders(path: Path) -> list[Path]:
    """The folders of sources at `path`, which is a spool folder or the folder of one source.

    Raises `SpoolError` if there is no such folder, or nothing of a spool in it.
    """
    if not path.is_dir():
        raise SpoolError(f"there is no folder {path}; name a client's spool_dir, or the folder of one source in it")
    if (path / "about.json").is_file():
        return [path]
    folders = sorted(child for child in path.iterdir() if (child / "about.json").is_file())
    if not folders:
        raise SpoolError(f"{path} holds no spool: neither it nor a folder in it has an about.json")
    return folders


def inspect_spool(path: Path) -> list[SpoolReport]:
    """What lies in a spool folder, or in the folder of one source. Raises `SpoolError` if something can't be read."""
    reports = []
    for folder in source_folders(path):
        try:
            source, topic = read_about(folder)
            homes = tuple(report for home in homes_in(folder) if (report := _report(home)) is not None)
        except (OSError, ValueError) as error:
            raise SpoolError(f"the spool in {folder} can't be read: {error}") from error
        reports.append(SpoolReport(folder, source, topic, homes))
    return reports


def left_by_the_dead(source_folder: Path) -> int:
    """Events that processes which ended have left in the folder of a source. Raises OSError."""
    left = 0
    for folder in filter(is_orphan, homes_in(source_folder)):
        for segment in _segments_of_the_living(folder) or ():  # another one may be sending them by now
            left += segment.entries - segment.acknowledged
            segment.close()
    return left


def _segments_of_the_living(folder: Path) -> list[Segment] | None:
    """As `segments_of`, of a folder in which files come and go meanwhile; None if it is gone."""
    for _ in range(_LOOKS):
        try:
            return segments_of(folder)
        except FileNotFoundError:  # sealed, which gives it another name, or all of it has arrived
            if not folder.exists():
                return None
    return segments_of(folder)


def _report(folder: Path) -> HomeReport | None:
    """None if the folder is gone meanwhile."""
    segments = _segments_of_the_living(folder)
    if segments is None:
        return None
    try:
        waiting = [segment for segment in segments if segment.unread]
        first = waiting[0].read(1).entries if waiting else []
        return HomeReport(
            folder,
            alive=not is_orphan(folder),
            events=sum(segment.entries - segment.acknowledged for segment in waiting),
            bytes=sum(segment.end - segment.read_offset for segment in waiting),
            first_time=_time_of(first[0][1]) if first else None,
            last_time=_last_time(waiting[-1]) if waiting else None,
            damaged_files=tuple(sorted(path.name for path in folder.glob("*.damaged"))),
        )
    finally:
        for segment in segments:
            segment.close()


def _last_time(segment: Any) -> str | None:
    last = None
    while segment.unread:
        reading = segment.read(10_000)
        segment.note_read(reading)
        if reading.entries:
            last = reading.entries[-1][1]
    return None if last is None else _time_of(last)


def _time_of(value: bytes) -> str | None:
    try:
        event = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    time = event.get("time") if isinstance(event, dict) else None
    return time if isinstance(time, str) else None
