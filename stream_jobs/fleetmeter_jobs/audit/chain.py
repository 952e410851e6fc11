"""Do the markers of a log follow one another, each beginning where the one before it ended?

The sums alone (see `reconcile`) can't see a range that is missing where another one of the same size is there twice.
Marker rows merge as time goes by; a merged row stands for all the commits in it, and while its own span is as long as
what it accounts for, it has neither a hole nor an overlap inside. A row with a hole is sound where an operator has left
these offsets out: such a decision never merges, and stands for them. It is sound, too, where the broker's clock went
back over the end of a month: commits of the other month lie in between, in another table partition. Then only the sums
can tell.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Final, NamedTuple

from fleetmeter_jobs.audit.findings import Checked, Finding
from fleetmeter_jobs.ledger.clickhouse_http import ClickHouseHttp
from fleetmeter_jobs.ledger.pinned import READ_SETTINGS
from fleetmeter_jobs.ledger.position import PartitionId

_TWICE: Final = (
    "Usage of these offsets is billed twice. Keep the ledger as it is, and find out what wrote to it but workers."
)
_MISSING: Final = "Restore the ledger from a backup: a table partition or a part of it is gone."


class MarkerRow(NamedTuple):
    """One marker row as it lies in the table: of one commit, or of several that were merged."""

    partition: PartitionId
    first_offset: int
    next_offset: int
    offsets: int
    """Offsets that it accounts for."""
    left_out: bool = False
    """Whether it is an operator's decision not to count them."""


def check_chain(http: ClickHouseHttp) -> Checked:
    """Look at every marker row in the ledger. Raises what ClickHouse raises when it is away."""
    rows = [MarkerRow(PartitionId(*row[:3]), *row[3:]) for row in http.rows(_ROWS, settings=READ_SETTINGS)]
    return Checked("chain", f"{len(rows):,} marker rows", tuple(find_breaks(rows)))


_ROWS: Final = (
    "SELECT topic, partition, epoch, first_offset, next_offset, "
    "records + control_offsets + aborted_offsets + skipped_offsets, skipped_offsets > 0 FROM ledger "
    "WHERE row_kind = 'marker' "
    "ORDER BY topic, partition, epoch, first_offset, next_offset"
)


def find_breaks(rows: Iterable[MarkerRow]) -> list[Finding]:
    """What keeps the rows from being one chain a log; they come in order of partition and offset."""
    return [finding for _, some in groupby(rows, key=lambda row: row.partition) for finding in _of_one_log(list(some))]


def _of_one_log(rows: list[MarkerRow]) -> list[Finding]:
    found, is_whole = [], True
    end = rows[0].first_offset
    spans = list[tuple[int, int]]()
    for row in rows:
        where = f"{row.partition}: the marker of offsets {row.first_offset} to {row.next_offset}"
        span = row.next_offset - row.first_offset
        if row.offsets > span:
            found.append(Finding(f"{where} accounts for {row.offsets}, more than the {span} there are.", _TWICE))
        parts = [(row.first_offset, row.next_offset)]
        if row.offsets < span:
            parts = _without(row, [one for one in rows if one.left_out])
        is_whole &= row.offsets == sum(after - first for first, after in parts)
        spans += parts
    if not is_whole:
        return found
    partition = rows[0].partition
    for first, after in sorted(spans):
        if first < end:
            until = min(end, after)
            if until > first:
                found.append(Finding(f"{partition}: offsets {first} to {until} were committed twice.", _TWICE))
        elif first > end:
            sentence = f"{partition}: offsets {end} to {first} are in no commit, those after them are."
            found.append(Finding(sentence, _MISSING))
        end = max(end, after)
    return found


def _without(row: MarkerRow, decisions: list[MarkerRow]) -> list[tuple[int, int]]:
    """What is left of a merged row's offsets, without those that decisions in its middle account for."""
    parts, first = [], row.first_offset
    for one in decisions:
        if first <= one.first_offset and one.next_offset <= row.next_offset:
            parts.append((first, one.first_offset))
            first = one.next_offset
    return [*parts, (first, row.next_offset)]
