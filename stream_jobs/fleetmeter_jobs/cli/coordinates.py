"""Where an event lies in Kafka, as people type it: `PARTITION/OFFSET` or `PARTITION/OFFSET/INDEX`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fleetmeter_jobs.cli.exits import CommandError

_FORM = re.compile(r"([0-9]{1,10})/([0-9]{1,19})(?:/([0-9]{1,10}))?")


@dataclass(frozen=True, slots=True)
class Coordinates:
    """A record of the topic, and an event in it; `event_index` is None for all of its events."""

    partition: int
    offset: int
    event_index: int | None = None


def parse_coordinates(text: str) -> Coordinates:
    """Raises CommandError with the form for anything else."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise CommandError(f"{text!r} is not PARTITION/OFFSET or PARTITION/OFFSET/INDEX, such as 0/1542 or 0/1542/3.")
    partition, offset, index = match.groups()
    return Coordinates(int(partition), int(offset), None if index is None else int(index))
