"""The canary lets a sound store pass, and names the promise that a broken one does not keep."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from fleetmeter_doubles import Inflight, MemoryLedger
from fleetmeter_jobs.ledger import ClickHouseHttp
from fleetmeter_jobs.ledger.canary import LEAST_WINDOW, prove_store
from fleetmeter_jobs.ledger.clickhouse_scratch import clickhouse_scratch
from fleetmeter_jobs.ledger.errors import StoreRefusedError, StoreUnavailableError
from fleetmeter_jobs.ledger.store import Guard, LedgerRows


def prove(store: MemoryLedger) -> None:
    @contextmanager
    def scratch() -> Any:
        yield store

    prove_store(scratch)


def test_a_sound_store_passes() -> None:
    prove(MemoryLedger(window=LEAST_WINDOW))


class Forgetful(MemoryLedger):
    """Deduplication is off."""

    def _land(self, inflight: Inflight, *, ghost: bool) -> None:
        self._log.clear()
        super()._land(inflight, ghost=ghost)


class Unguarded(MemoryLedger):
    """The WHERE is lost."""

    def _holds(self, guard: Guard) -> bool:
        return True


class Splitting(MemoryLedger):
    """A large insert becomes two parts."""

    def _land(self, inflight: Inflight, *, ghost: bool) -> None:
        super()._land(inflight, ghost=ghost)
        part = self.parts[-1] if self.parts else None
        if part is not None and part.usage.num_rows > 1000:
            self.parts[-1:] = [
                replace(part, usage=part.usage.slice(0, 1000)),
                replace(part, usage=part.usage.slice(1000), markers=[]),
            ]


class Cutting(MemoryLedger):
    """A limit takes rows away."""

    def _land(self, inflight: Inflight, *, ghost: bool) -> None:
        cut = replace(inflight, part=replace(inflight.part, usage=inflight.part.usage.slice(0, 100)))
        super()._land(cut, ghost=ghost)


class Careless(MemoryLedger):
    """A body without its end is taken as far as it goes."""

    def insert(self, rows: LedgerRows, guard: Guard, token: str) -> None:
        try:
            super().insert(rows, guard, token)
        except StoreUnavailableError:
            return


class Racing(MemoryLedger):
    """Tokens are looked up when the statement starts, and not where the part is added."""

    def _begin(self, rows: LedgerRows, guard: Guard, token: str, *, cut: bool = False) -> Inflight:
        inflight = super()._begin(rows, guard, token, cut=cut)
        known = (inflight.part.table_partition, token) in self._log
        return replace(inflight, guard_held=inflight.guard_held and not known)

    def _land(self, inflight: Inflight, *, ghost: bool) -> None:
        with self._lock:
            self._log.pop((inflight.part.table_partition, inflight.part.token), None)
            super()._land(inflight, ghost=ghost)


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (lambda: MemoryLedger(window=100), "window"),
        (Splitting, "one_part"),
        (Cutting, "one_part"),
        (Unguarded, "guard"),
        (Forgetful, "token"),
        (Careless, "cut_body"),
        (Racing, "one_winner"),
    ],
)
def test_a_broken_store_is_refused_by_name(broken: Callable[..., MemoryLedger], check: str) -> None:
    store = broken() if check == "window" else broken(window=LEAST_WINDOW)
    if check == "one_winner":
        # All rivals of a round have passed the guard before the first one lands.
        barrier = threading.Barrier(4)

        def meet(inflight: Inflight) -> None:
            if inflight.part.token == "canary@1#0":
                barrier.wait(10)

        store.between_steps = meet
    with pytest.raises(StoreRefusedError, match="migrate") as refused:
        prove(store)
    assert refused.value.check == check


class Overriding(ClickHouseHttp):
    """A server whose profile has another value for a setting that the ledger pins."""

    override: dict[str, str | int]

    def execute(self, statement: str, **options: Any) -> bytes:
        if statement.startswith("INSERT"):
            options["settings"] = {**options["settings"], **self.override}
        return super().execute(statement, **options)


@pytest.mark.clickhouse
@pytest.mark.parametrize(
    ("override", "check"),
    [
        ({}, None),
        ({"deduplicate_insert_select": "disable"}, "token"),
        ({"use_strict_insert_block_limits": 1, "max_insert_block_size": 1000}, "one_part"),
        ({"max_execution_time": 0.001, "timeout_overflow_mode": "break"}, "one_part"),
    ],
)
def test_on_clickhouse(clickhouse_http: ClickHouseHttp, override: dict[str, str | int], check: str | None) -> None:
    clickhouse_http.__class__ = Overriding
    assert isinstance(clickhouse_http, Overriding)
    clickhouse_http.override = override
    if check is None:
        prove_store(lambda: clickhouse_scratch(clickhouse_http))
    else:
        with pytest.raises(StoreRefusedError) as refused:
            prove_store(lambda: clickhouse_scratch(clickhouse_http))
        assert refused.value.check == check
    tables = clickhouse_http.rows("SELECT name FROM system.tables WHERE database = currentDatabase()")
    assert not [name for (name,) in tables if "canary" in name]
    assert clickhouse_http.rows("SELECT count() FROM ledger") == [[0]]


class Hostile(ClickHouseHttp):
    """A server whose profile has the worst defaults; what a statement sets itself comes before them."""

    def execute(self, statement: str, **options: Any) -> bytes:
        defaults = {
            "async_insert": 1,
            "insert_deduplicate": 0,
            "deduplicate_insert": "disable",
            "deduplicate_insert_select": "disable",
            "use_strict_insert_block_limits": 1,
            "max_insert_block_size": 1000,
            "max_insert_threads": 4,
            "use_query_cache": 1,
        }
        return super().execute(statement, **{**options, "settings": {**defaults, **(options.get("settings") or {})}})


@pytest.mark.clickhouse
def test_what_is_pinned_holds_against_a_hostile_profile(clickhouse_http: ClickHouseHttp) -> None:
    clickhouse_http.__class__ = Hostile
    prove_store(lambda: clickhouse_scratch(clickhouse_http))


@pytest.mark.clickhouse
def test_rival_canaries_do_not_meet(clickhouse_http: ClickHouseHttp) -> None:
    with ThreadPoolExecutor(2) as pool:
        for canary in [pool.submit(prove_store, lambda: clickhouse_scratch(clickhouse_http)) for _ in range(2)]:
            canary.result(60)


@pytest.mark.clickhouse
def test_a_table_that_forgets_tokens_is_refused(clickhouse_http: ClickHouseHttp) -> None:
    clickhouse_http.execute("ALTER TABLE ledger MODIFY SETTING non_replicated_deduplication_window = 0")
    with pytest.raises(StoreRefusedError) as refused:
        prove_store(lambda: clickhouse_scratch(clickhouse_http))
    assert refused.value.check == "window"
