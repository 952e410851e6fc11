"""The protocol with one piece taken out. Each of these must make the campaign fail: a campaign that can't, proves
nothing.

They replace names of production modules while they are in force; production code knows nothing of them.
"""

from __future__ import annotations

import importlib
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, cast
from unittest import mock

from faust.types import TP
from fleetmeter_jobs import partition_ledger as _partition_ledger
from fleetmeter_jobs import processor
from fleetmeter_jobs.counted_log import CountedLog
from fleetmeter_jobs.ledger.commit import Commit
from fleetmeter_jobs.ledger.dedup.chunks import DAY_US
from fleetmeter_jobs.ledger.dedup.store import DedupStore
from fleetmeter_jobs.ledger.position import Counts, PartitionId, Position
from fleetmeter_jobs.ledger.store import Guard, LedgerRows, PositionIs
from fleetmeter_jobs.partition_ledger import PartitionLedger

from fleetmeter_deterministic.consumer import SimConsumer
from fleetmeter_deterministic.light_ledger import Block, LightBody, LightLedger

# The package has a function of this name.
_commit = importlib.import_module("fleetmeter_jobs.ledger.commit")
_seal = importlib.import_module("fleetmeter_jobs.ledger.dedup.seal")
_restore = importlib.import_module("fleetmeter_jobs.ledger.dedup.restore")
_compare_and_swap = _commit.compare_and_swap

_MARKER, _BLOB = 1, 2
Patch = Callable[[], AbstractContextManager[object]]
Insert = tuple[LedgerRows, Guard, str]


@dataclass(frozen=True)
class Mutation:
    """One piece less."""

    name: str
    without: str
    patch: Patch
    because: str
    """A pattern of what is said to be broken then: a patch that no longer fits the code breaks something else."""
    flavour: str = "mixed"
    """The kind of schedules that notice it soonest."""

    def explains(self, broken: str | None) -> bool:
        """Whether this promise is broken for want of the piece."""
        return broken is not None and re.search(self.because, broken) is not None


class _Store:
    """A store whose inserts are changed on their way; everything else is passed on."""

    def __init__(self, store: DedupStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def _with_inserts(change: Callable[[LedgerRows, Guard, str], list[Insert]]) -> Patch:
    """Each insert of a commit becomes several, one after the other."""

    class Changing(_Store):
        def insert(self, rows: LedgerRows, guard: Guard, token: str) -> None:
            for one in change(rows, guard, token):
                self._store.insert(*one)

    return lambda: _swapping(lambda store, *args: _compare_and_swap(Changing(store), *args))


def _swapping(swap: Callable[..., Any]) -> AbstractContextManager[object]:
    return mock.patch.object(_commit, "compare_and_swap", swap)


def _body(rows: LedgerRows) -> Block:
    return cast("LightBody", rows.body).blocks[0]


def _rows(*blocks: Block, cut_is_seen: bool = True) -> LedgerRows:
    return LedgerRows(sum(len(block.extra) for block in blocks), cast("Any", LightBody(blocks, cut_is_seen)))


def _only(block: Block, kind: int, *, usage: bool = False) -> Block:
    return replace(
        block, extra=tuple(row for row in block.extra if row["row_kind"] == kind), usage=block.usage if usage else None
    )


def _without(block: Block, kind: int) -> Block:
    return replace(block, extra=tuple(row for row in block.extra if row["row_kind"] != kind))


def _filled(block: Block) -> bool:
    return bool(block.extra) or block.usage is not None


def _apart(first: Block, second: Block, guard: Guard, then: Guard, token: str) -> list[Insert]:
    both = [(first, guard, f"{token}/1"), (second, then, f"{token}/2")]
    return [(_rows(block), on, name) for block, on, name in both if _filled(block)]


def _marker_after(rows: LedgerRows, guard: Guard, token: str) -> list[Insert]:
    block = _body(rows)
    return _apart(_without(block, _MARKER), _only(block, _MARKER), guard, guard, token)


def _blobs_before(rows: LedgerRows, guard: Guard, token: str) -> list[Insert]:
    block = _body(rows)
    return _apart(_only(block, _BLOB), _without(block, _BLOB), guard, guard, token)


def _blobs_after(rows: LedgerRows, guard: Guard, token: str) -> list[Insert]:
    block = _body(rows)
    (marker,) = _only(block, _MARKER).extra
    moved = replace(cast("PositionIs", guard), offset=marker["next_offset"])
    return _apart(_without(block, _BLOB), _only(block, _BLOB), guard, moved, token)


def _two_record_batches(rows: LedgerRows, guard: Guard, token: str) -> list[Insert]:
    block = _body(rows)
    usage = replace(block, extra=())
    rest = replace(block, usage=None)
    return [(_rows(*filter(_filled, (usage, rest)), cut_is_seen=False), guard, token)]


def _blobs_lost(rows: LedgerRows, guard: Guard, token: str) -> list[Insert]:
    return [(_rows(_without(_body(rows), _BLOB)), guard, token)]


def _no_guard() -> AbstractContextManager[object]:
    return mock.patch.object(LightLedger, "_holds", return_value=True)


def _no_token() -> AbstractContextManager[object]:
    numbers = itertools.count()
    return mock.patch.object(Commit, "token", lambda commit, _attempt: f"{commit.first_offset} {next(numbers)}")


def _raised_on_error() -> AbstractContextManager[object]:
    def swap(store: DedupStore, rows: Any, guard: Any, token_of: Callable[[int], str], *args: Any) -> Any:
        failed = [0]

        class Counting(_Store):
            def insert(self, *insert: Any) -> None:
                failed[0] += 1
                self._store.insert(*insert)
                failed[0] -= 1

        return _compare_and_swap(Counting(store), rows, guard, lambda attempt: token_of(attempt + failed[0]), *args)

    return _swapping(swap)


def _never_raised() -> AbstractContextManager[object]:
    def swap(store: Any, rows: Any, guard: Any, token_of: Callable[[int], str], *args: Any) -> Any:
        return _compare_and_swap(store, rows, guard, lambda _attempt: token_of(0), *args)

    return _swapping(swap)


def _no_read_back() -> AbstractContextManager[object]:
    """An insert that is "done" is taken for committed."""

    def swap(store: DedupStore, rows: Any, guard: Any, token_of: Any, read: Any, *args: Any) -> Any:
        flush: Commit = read.args[1]
        done = [False]

        class Noting(_Store):
            def insert(self, *insert: Any) -> None:
                self._store.insert(*insert)
                done[0] = True

        believe = lambda: _as_if_committed(flush) if done[0] else flush.previous  # noqa: E731
        return _compare_and_swap(Noting(store), rows, guard, token_of, believe, *args)

    return _swapping(swap)


def _as_if_committed(flush: Commit) -> Position:
    before = flush.previous
    totals = {
        each.name: getattr(before.totals, each.name) + getattr(flush.counts, each.name) for each in fields(Counts)
    }
    return replace(
        before,
        next_offset=flush.next_offset,
        tail=flush.tail,
        totals=Counts(**totals),
        commits=before.commits + 1,
        watermark_us=max(before.watermark_us, flush.watermark_us),
    )


def _no_check_at_start() -> AbstractContextManager[object]:
    async def believe(log: CountedLog, partition: PartitionId, position: Position, topic_id: str) -> None:
        log._read = partition, position, topic_id

    return mock.patch.object(CountedLog, "begin", believe)


class _OldBounds:
    """A consumer whose logs have the bounds that it told last."""

    def __init__(self, consumer: SimConsumer, told: Mapping[tuple[SimConsumer, TP], tuple[int, int]]) -> None:
        self._consumer, self._told = consumer, told

    async def log_bounds(self, tp: TP) -> tuple[int, int]:
        return self._told[self._consumer, tp]

    async def header_at(self, tp: TP, offset: int) -> Any:
        return await self._consumer.header_at(tp, offset)


@contextmanager
def _old_bounds() -> Iterator[None]:
    """The log's bounds are those from before the ledger was asked for the position."""
    ask, begin = SimConsumer.log_bounds, CountedLog.begin
    told: dict[tuple[SimConsumer, TP], tuple[int, int]] = {}

    async def remembering(consumer: SimConsumer, tp: TP) -> tuple[int, int]:
        told[consumer, tp] = bounds = await ask(consumer, tp)
        return bounds

    async def begin_with_old(log: Any, *args: Any) -> None:
        consumer, log._kafka = log._kafka, _OldBounds(log._kafka, told)
        try:
            await begin(log, *args)
        finally:
            log._kafka = consumer

    with (
        mock.patch.object(SimConsumer, "log_bounds", remembering),
        mock.patch.object(CountedLog, "begin", begin_with_old),
    ):
        yield


def _no_check_of_leaders() -> AbstractContextManager[object]:
    async def believe(_log: CountedLog, _batches: object) -> None:
        return

    return mock.patch.object(CountedLog, "go_on", believe)


def _no_check_of_topic() -> AbstractContextManager[object]:
    return mock.patch.object(PartitionLedger, "_expect_topic")


def _no_continuity() -> AbstractContextManager[object]:
    return mock.patch.object(processor, "continue_from", lambda _position, batches, _end: list(batches))


def _blobs_deleted_early() -> AbstractContextManager[object]:
    """When the ids are in the store, and before their manifests are."""

    class Hasty(_Store):
        def ids_sum(self, partition: PartitionId, first_offset: int, next_offset: int) -> Any:
            self._store.delete_blobs(partition, next_offset)
            return self._store.ids_sum(partition, first_offset, next_offset)

    write = _seal._write
    return mock.patch.object(_seal, "_write", lambda store, *args: write(Hasty(store), *args))


def _no_lookups() -> AbstractContextManager[object]:
    return mock.patch.object(PartitionLedger, "look_up", return_value=b"")


def _no_second_reading() -> AbstractContextManager[object]:
    return mock.patch.object(_restore._Reading, "overtaken", return_value=False)


def _short_memory() -> AbstractContextManager[object]:
    def before_today(newest_append_us: int, *_args: int) -> int:
        return newest_append_us // DAY_US

    return mock.patch.object(_partition_ledger, "forget_before", before_today)


_TWICE = "were committed after those up to|are counted twice"
_NOT_OF_THIS_LOG = "no log that ever was has what was committed"
_NOT_ALL_KNOWN = "identities, but .* events were accepted"

MUTATIONS: Mapping[str, Mutation] = {
    each.name: each
    for each in (
        Mutation("guard", "the guard: an insert looks at no position", _no_guard, _TWICE, "zombies"),
        Mutation("token", "the token: each insert has a name of its own", _no_token, _TWICE),
        Mutation("raised-on-error", "the attempt rule: an error raises the attempt too", _raised_on_error, _TWICE),
        Mutation("never-raised", "the attempt rule: a ghost does not raise the attempt", _never_raised, "not drained"),
        Mutation(
            "read-back", "the read-back: done is taken for committed", _no_read_back, "is counting at .* of .*: None"
        ),
        Mutation(
            "marker",
            "the marker's place: it comes in an insert of its own",
            _with_inserts(_marker_after),
            _NOT_OF_THIS_LOG,
        ),
        Mutation(
            "one-batch",
            "the one record batch: there are two, in a stream",
            _with_inserts(_two_record_batches),
            "the rollups have .* requests, the log has",
        ),
        Mutation(
            "blobs-before",
            "the identities' place: an insert of their own, before",
            _with_inserts(_blobs_before),
            f"{_NOT_OF_THIS_LOG}|{_NOT_ALL_KNOWN}",
        ),
        Mutation(
            "blobs-after",
            "the identities' place: an insert of their own, after",
            _with_inserts(_blobs_after),
            f"{_NOT_OF_THIS_LOG}|{_NOT_ALL_KNOWN}",
        ),
        Mutation(
            "check-at-start",
            "the check of topic and tail at the start",
            _no_check_at_start,
            f"{_NOT_OF_THIS_LOG}|this is not the log that was counted .* but it goes on",
            "logs",
        ),
        Mutation(
            "old-bounds",
            "the log's bounds are asked before the position, and not again",
            _old_bounds,
            "although its log is whole: .* Kafka has a log that ends at",
        ),
        Mutation(
            "check-of-leaders",
            "the check of the log under another leader",
            _no_check_of_leaders,
            _NOT_OF_THIS_LOG,
            "logs",
        ),
        Mutation(
            "check-of-topic",
            "the check of the topic's id before a commit",
            _no_check_of_topic,
            _NOT_OF_THIS_LOG,
            "logs",
        ),
        Mutation(
            "continuity", "trimming, and the look for gaps", _no_continuity, "records of the log are missing or doubled"
        ),
        Mutation(
            "deleted-early",
            "the order of sealing: blobs go before the manifests",
            _blobs_deleted_early,
            _NOT_ALL_KNOWN,
            "memory",
        ),
        Mutation(
            "lookups", "looking up what a filter or an hour calls a maybe", _no_lookups, _NOT_OF_THIS_LOG, "memory"
        ),
        Mutation(
            "read-again",
            "reading again when a rival has sealed meanwhile",
            _no_second_reading,
            _NOT_ALL_KNOWN,
            "memory",
        ),
        Mutation("horizon", "the length of the memory: a day is enough", _short_memory, _NOT_OF_THIS_LOG, "memory"),
        Mutation("identities", "the identities: none are inserted", _with_inserts(_blobs_lost), _NOT_OF_THIS_LOG),
    )
}
