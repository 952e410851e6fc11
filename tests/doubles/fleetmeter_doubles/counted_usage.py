"""Counted usage, put into the tables as workers leave it: rows of the ledger, markers, facts, subjects."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import orjson
from clickhouse_connect.driver.client import Client
from fleetmeter_billing.accounts.account_file import parse_accounts
from fleetmeter_billing.accounts.account_store import apply_accounts, load_accounts, plan_apply
from fleetmeter_billing.accounts.segments import Cards, CardVersion

NO_TOKENS = {"deduplicate_insert": "disable"}
"""A second insert of the same bytes is taken for a retry; here it is another delta."""


@dataclass
class CountedUsage:
    """One topic with one partition, whose offsets are given out one by one."""

    client: Client
    topic: str = "t"
    offsets: Any = field(default_factory=lambda: itertools.count(100))

    def put(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        body = b"\n".join(orjson.dumps(row) for row in rows)
        self.client.raw_insert(table, insert_block=body, fmt="JSONEachRow", settings=NO_TOKENS)

    def usage(self, account: str, minute: str, **values: Any) -> None:
        """One generation (or what `values` say)."""
        self.put("ledger", [usage_row(account, minute, **values)])

    def fact(self, account: str, time: str, event_id: str, **values: Any) -> int:
        """A fact at the next offset, which is returned."""
        return self._side("usage_facts", account, time, event_id, values)

    def facts(self, time: str, events: dict[str, str], **values: Any) -> None:
        """Device reports at the next offsets, one for each account, with the id that is given for it."""
        common = {"source": "s", "time": time, "topic": self.topic, "event_type": "device_report", **values}
        rows = [{"account_id": account, "event_id": name, **common} for account, name in events.items()]
        self.put("usage_facts", [{**row, "offset": next(self.offsets)} for row in rows])

    def adjustment(self, account: str, time: str, event_id: str, **values: Any) -> int:
        return self._side("usage_adjustments", account, time, event_id, {"reason": "Goodwill.", **values})

    def subject(self, account: str, kind: str, subject: str, *moments: str) -> None:
        """Seen at these moments of one UTC day."""
        row = {"account_id": account, "day": moments[0][:10], "subject_kind": kind, "subject": subject}
        self.put("usage_subjects", [{**row, "first_seen": moments[0], "last_seen": moments[-1]}])

    def _side(self, table: str, account: str, time: str, event_id: str, values: dict[str, Any]) -> int:
        offset = next(self.offsets)
        common = {"account_id": account, "source": "s", "event_id": event_id, "time": time, "topic": self.topic}
        self.put(table, [{**common, "offset": offset, "event_type": "device_report", **values}])
        return offset

    def marker(
        self,
        watermark: str,
        next_offset: int | None = None,
        partition: int = 0,
        *,
        epoch: int = 0,
        first_offset: int = 0,
        topic_id: str = "",
    ) -> None:
        """All offsets so far (or those below `next_offset`) are committed; the partition has come to `watermark`."""
        position = next(self.offsets) + 1 if next_offset is None else next_offset
        row = {
            "row_kind": "marker",
            "topic": self.topic,
            "partition": partition,
            "epoch": epoch,
            "table_partition": 202611,
            "first_offset": first_offset,
            "next_offset": position,
            "tail": {"next_offset": position, "topic_id": topic_id},
            "commits": 1,
            "watermark": watermark,
        }
        self.put("ledger", [row])


def usage_row(account: str, minute: str, **values: Any) -> dict[str, Any]:
    """A row of the ledger: one generation of a cloud model."""
    return {
        "row_kind": "usage",
        "event_type": "generation",
        "account_id": account,
        "minute": minute,
        "model": "m",
        "generation_mode": "diffusion",
        "topic": "t",
        "table_partition": 202611,
        "requests": 1,
        **values,
    }


def apply_yaml(client: Client, text: str) -> None:
    """Apply an accounts file."""
    subscribers = parse_accounts(text, "accounts.yaml")
    changes = plan_apply(subscribers, load_accounts(client))
    apply_accounts(client, subscribers, changes, by="test", at_ms=0)


def card_version(
    version: int = 1, effective: str = "2026-01-01", currency: str = "EUR", plans: Sequence[str] = ("default",)
) -> CardVersion:
    return CardVersion(version, date.fromisoformat(effective), currency, frozenset(plans))


def one_card() -> Cards:
    """A card "fleet" with one version."""
    return {"fleet": [card_version()]}


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
