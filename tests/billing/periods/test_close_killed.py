"""kill -9 at every step of a close, and closes that meet: no period is half closed, none is closed twice."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from clickhouse_connect.driver.client import Client
from fleetmeter_billing.errors import OutcomeUnknownError
from fleetmeter_billing.periods.close import STEPS, CloseWorld, close_period, sweep
from fleetmeter_billing.periods.close_log import winning_closes
from fleetmeter_billing.periods.verify import altered_tables
from fleetmeter_doubles.closing_processes import RULES, check_frozen_is_live, exit_code, start_closing, strays
from fleetmeter_doubles.counted_usage import CountedUsage, apply_yaml, one_card, usage_row

pytestmark = pytest.mark.clickhouse

ACCOUNTS = "accounts:" + "".join(
    f"\n  - {{account: a{number}, currency: EUR, subscription: [{{from: 2026-01-01, card: fleet}}]}}"
    for number in range(5)
)


SWITCHED = ("after_insert", "after_read_back")


def months(count: int) -> list[str]:
    return [f"{2026 + number // 12}-{number % 12 + 1:02}" for number in range(count)]


def use(counted: CountedUsage, period: str, *, late_of: str | None = None) -> None:
    """Usage, a fact and a user of each account in the period; with `late_of`, also late usage of that one."""
    accounts = [(number, f"a{number}") for number in range(5)]
    rows = [usage_row(one, f"{period}-10 10:00:00", output_tokens=100 + n, model=f"m{n % 2}") for n, one in accounts]
    if late_of is not None:
        rows.append(usage_row("a1", f"{late_of}-15 10:00:00", function_evaluations=7, model="late"))
    counted.put("ledger", rows)
    counted.facts(f"{period}-11 10:00:00", {one: f"{one}-{period}" for _, one in accounts}, kind="download", model="m")
    counted.subject("a1", "user", "u", f"{period}-12 10:00:00")
    counted.marker("2030-01-01 00:00:00")


def check(counted: CountedUsage, periods: list[str]) -> None:
    closes = winning_closes(counted.client)
    assert [one.period for one in closes] == periods
    assert [altered_tables(counted.client, one) for one in closes] == [[]] * len(closes)
    check_frozen_is_live(counted.client)


def test_a_close_that_is_killed_anywhere_happened_wholly_or_not_at_all(
    counted: CountedUsage, another_client: Callable[[], Client]
) -> None:
    """Closes of one period are killed with SIGKILL, each a step later, until one gets to the switch."""
    apply_yaml(counted.client, ACCOUNTS)
    first, *periods = months(3)
    use(counted, first)
    close_period(counted.client, first, one_card, RULES)
    use(counted, periods[0], late_of=first)
    before = [step for step in STEPS if step not in SWITCHED]
    for step in before:
        assert exit_code(start_closing(another_client, periods[0], kill_at=step)) == -signal.SIGKILL
        assert [one.period for one in winning_closes(counted.client)] == [first], step
    assert len(strays(counted.client)) == len(before[before.index("segments_frozen") :])
    for step, period in zip(SWITCHED, periods, strict=True):
        assert exit_code(start_closing(another_client, period, kill_at=step)) == -signal.SIGKILL
        assert not close_period(counted.client, period, one_card, RULES).ours, step
        use(counted, periods[1], late_of=period)
    use(counted, "2026-04", late_of=first)
    assert close_period(counted.client, "2026-04", one_card, RULES).ours
    check(counted, [first, *periods, "2026-04"])
    assert not strays(counted.client)


def test_closes_that_meet_make_one_close_a_period(counted: CountedUsage, another_client: Callable[[], Client]) -> None:
    apply_yaml(counted.client, ACCOUNTS)
    periods = months(2)
    for period in periods:
        use(counted, period)
    rivals = [start_closing(another_client, period) for period in (*periods, *periods)]
    assert [exit_code(one) for one in rivals] == [0] * 4
    assert sorted(one.period for one in winning_closes(counted.client)) == periods
    check(counted, [one.period for one in winning_closes(counted.client)])
    assert not strays(counted.client)


@pytest.mark.long
def test_a_rival_at_any_step_wins_or_loses_and_both_are_told_the_same(
    counted: CountedUsage, another_client: Callable[[], Client]
) -> None:
    """While one close stands at a step, another closes the same period, and another sweeps."""
    apply_yaml(counted.client, ACCOUNTS)
    points = ["segments_frozen", "before_insert", "after_read_back"]
    periods = months(len(points))
    rival = another_client()
    for point, period in zip(points, periods, strict=True):
        use(counted, period)
        met = []

        def meet(at: str, point: str = point, period: str = period, met: list[object] = met) -> None:
            if at == point and not met:
                met.append(None)
                met[0] = close_period(rival, period, one_card, RULES)
                sweep(rival, winning_closes(rival))

        outcome = close_period(counted.client, period, one_card, RULES, CloseWorld(step=meet))
        (theirs,) = met
        assert theirs.close.close_id == outcome.close.close_id
        assert (outcome.ours, theirs.ours) == ((True, False) if point == "after_read_back" else (False, True))
    check(counted, periods)
    assert not strays(counted.client)


@pytest.mark.parametrize("took_effect", [True, False])
def test_no_answer_to_the_switch_is_no_reason_to_guess(counted: CountedUsage, *, took_effect: bool) -> None:
    """The connection breaks at the switch and stays broken: the rows stay, since the switch may still arrive."""
    apply_yaml(counted.client, ACCOUNTS)
    use(counted, "2026-01")
    client = Cut(counted.client, took_effect=took_effect)
    impatient = CloseWorld(patience=type(CloseWorld().patience)(failures=2, sleep=lambda _seconds: None))
    with pytest.raises(OutcomeUnknownError, match="Run it again"):
        close_period(client, "2026-01", one_card, RULES, impatient)
    assert len(winning_closes(counted.client)) == took_effect
    assert close_period(counted.client, "2026-01", one_card, RULES).ours != took_effect
    check(counted, ["2026-01"])


class Cut:
    """A client whose connection breaks when the switch is sent, before or after it took effect."""

    def __init__(self, client: Client, *, took_effect: bool) -> None:
        self.client = client
        self.took_effect = took_effect
        self.broken = False

    def command(self, statement: str, **more: object) -> object:
        if "INSERT INTO billing_closes" in statement:
            if self.took_effect and not self.broken:
                self.client.command(statement, **more)
            self.broken = True
        if self.broken:
            raise OSError("connection reset")
        return self.client.command(statement, **more)

    def query(self, statement: str, **more: object) -> object:
        if self.broken:
            raise OSError("connection reset")
        return self.client.query(statement, **more)

    def raw_insert(self, *given: object, **more: object) -> object:
        return self.client.raw_insert(*given, **more)


def test_what_the_clock_says_has_no_effect(counted: CountedUsage) -> None:
    """Neither whether a period is complete nor what is frozen follows from the closer's clock."""
    apply_yaml(counted.client, ACCOUNTS)
    use(counted, "2026-01")
    for year_ms in (0, 4_000_000_000_000):
        close = close_period(counted.client, "2026-01", one_card, RULES, CloseWorld(now_ms=lambda at=year_ms: at)).close
        assert close.closed_at.year == 1970
    use(counted, "2026-02", late_of="2026-01")
    world = CloseWorld(now_ms=lambda: 4_000_000_000_000)
    assert close_period(counted.client, "2026-02", one_card, RULES, world).close.closed_at.year == 2096
    check(counted, ["2026-01", "2026-02"])
