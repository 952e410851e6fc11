"""The native core as the judge of the HTTP ingest: what a worker would reject, by the worker's own code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fleetmeter_native import Core
from fleetmeter_producers.ingest.judging import Judge, Refusal
from fleetmeter_schemas import native_spec
from fleetmeter_schemas.reasons import Reason

from fleetmeter_jobs.counting_core import DAY_US, SECOND_US
from fleetmeter_jobs.settings import Settings

_NO_KEY: Final = bytes(16)  # no id is remembered, so none is hashed
_MOST_GROUPS: Final = 10_000


class NativeJudge:
    """Judges with a core whose memory of ids is off, and whose counts nobody reads."""

    def __init__(self, settings: Settings, plain: Judge) -> None:
        """`plain` judges what is no JSON object."""
        self._settings = settings
        self._plain = plain
        self._core = self._new_core()

    def judge(self, events: Sequence[bytes], now_us: int) -> list[Refusal]:
        """As `Judge.judge`: each event is given to the core as a record of its own."""
        # Only an object is one event for certain; the core would take `[...]` for many. What is none is refused anyway.
        values = [text if text.startswith(b"{") else None for text in events]
        try:
            answer = self._core.ingest(values, 0, now_us)
            if self._core.pending_groups > _MOST_GROUPS:
                self._core.flush()
        except OverflowError:  # the sums of many calls; one call's do not get there
            self._core = self._new_core()
            answer = self._core.ingest(values, 0, now_us)
        except Exception:
            self._core = self._new_core()  # after an error inside the core refuses to go on
            raise
        return [
            Refusal(record, Reason.of_number(code), field)
            if code != Reason.TOMBSTONE.number
            else self._plain.judge([events[record]], now_us)[0]._replace(place=record)
            for record, _, code, field, _ in answer.rejections
        ]

    def _new_core(self) -> Core:
        settings = self._settings
        return Core(
            native_spec(),
            _NO_KEY,
            horizon_us=settings.horizon_days * DAY_US,
            future_us=settings.future_limit_s * SECOND_US,
            record_limit_bytes=settings.record_limit_bytes,
            event_limit_bytes=settings.event_limit_bytes,
            label_keys=settings.label_keys,
            label_sets_per_account_hour=settings.label_sets_per_account_hour,
            deduplicate=False,
        )
