"""What waits in memory beside the core is a reason to flush by what it takes, not by its payloads alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from fleetmeter_jobs.pending import Pending
from fleetmeter_jobs.record_batch import RecordBatch


@dataclass
class Answer:
    rejections: list[tuple[int, int, int, str, bytes]] = field(default_factory=list)
    facts: list[tuple[int, int, bytes]] = field(default_factory=list)
    max_event_time_us: int = 0


class Core:
    """Refuses so many events of each record, or takes so many facts."""

    pending_events = pending_groups = 0

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def ingest(self, values: list[bytes | None], base_offset: int, append_time_us: int) -> Answer:
        return self._answer

    def resolve(self, known: bytes) -> Answer:
        return self._answer


@pytest.mark.parametrize(
    ("answer", "calls"),
    [
        (Answer(rejections=[(0, at, 7, "", b"0") for at in range(10_000)]), 4),
        (Answer(rejections=[(0, 0, 2, "", b"x" * 2**24)]), 2),
        (Answer(facts=[(0, at, b"{}") for at in range(10_000)]), 14),
    ],
    ids=["many refused", "large refused", "many facts"],
)
def test_what_waits_is_large(answer: Answer, calls: int) -> None:
    pending = Pending(0, 0)
    for call in range(calls):
        assert not pending.large
        pending.ingest(Core(answer), [RecordBatch(call, call + 1, 0, 0, 0, [b"0"])])
    assert pending.large
