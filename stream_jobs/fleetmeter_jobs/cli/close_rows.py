"""A close as people and machines are shown it."""

from __future__ import annotations

from typing import Any

from fleetmeter_billing.periods.close_log import FROZEN_TABLES, Close


def close_as_dict(close: Close) -> dict[str, Any]:
    """Everything that the log says of a close."""
    return {
        "seq": close.seq,
        "period": close.period,
        "close_id": close.close_id,
        "starts": close.starts,
        "ends": close.ends,
        "accounts": close.accounts,
        "corrected": list(close.corrected),
        "lateness_s": close.lateness_s,
        "watermark": close.watermark,
        "positions": [
            {"topic": topic, "partition": partition, "epoch": epoch, "next_offset": offset}
            for topic, partition, epoch, offset in close.positions
        ],
        "cards": [{"card": card, "version": version} for card, version in close.cards],
        "rows": dict(zip(FROZEN_TABLES, close.row_counts, strict=True)),
        "checksums": dict(zip(FROZEN_TABLES, map(str, close.checksums), strict=True)),
        "closed_by": close.closed_by,
        "closed_at": close.closed_at,
    }
