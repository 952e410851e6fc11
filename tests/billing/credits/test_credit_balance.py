"""Balances as a fold, draws in order, and what they settle, by hand."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from fleetmeter_billing.credits.balance import Entry, balances, draw
from fleetmeter_billing.credits.settlement import covered, credit_line, needed
from hypothesis import given
from hypothesis import strategies as st

DAY = date(2026, 11, 30)


def grant(number: int, name: str, count: str, expires: date | None = None, day: date = date(2026, 11, 1)) -> Entry:
    return Entry(number, "grant", ((name, Decimal(count)),), day, expires)


def drawn(number: int, *parts: tuple[str, str]) -> Entry:
    return Entry(number, "draw", tuple((name, Decimal(count)) for name, count in parts), DAY)


def text(parts: tuple[tuple[str, Decimal], ...]) -> list[tuple[str, str]]:
    return [(name, f"{count.normalize():f}") for name, count in parts]


def test_what_expires_first_is_drawn_first() -> None:
    entries = [
        grant(1, "open", "100"),
        grant(2, "late", "50", date(2027, 6, 1)),
        grant(3, "soon", "30", date(2026, 12, 1)),
        grant(4, "gone", "99", date(2026, 11, 30)),
        grant(5, "next", "99", day=date(2026, 12, 1)),
    ]
    assert text(draw(entries, Decimal("95.5"), DAY)) == [("soon", "30"), ("late", "50"), ("open", "15.5")]
    # only 180 can be drawn on the day
    assert text(draw(entries, Decimal(1000), DAY)) == [("soon", "30"), ("late", "50"), ("open", "100")]
    assert draw(entries, Decimal(0), DAY) == ()
    assert draw([], Decimal(5), DAY) == ()


def test_balances_follow_from_entries() -> None:
    entries = [grant(1, "a", "100"), drawn(2, ("a", "60")), grant(3, "b", "10"), drawn(4, ("a", "40"), ("b", "1.5"))]
    assert [(one.name, str(one.granted), str(one.left)) for one in balances(entries)] == [
        ("a", "100", "0"),
        ("b", "10", "8.5"),
    ]


def test_what_is_given_back_goes_where_it_was_taken_last() -> None:
    entries = [grant(1, "a", "100"), grant(2, "b", "50"), drawn(3, ("a", "100")), drawn(4, ("b", "20"))]
    assert text(draw(entries, Decimal(-30), DAY)) == [("b", "-20"), ("a", "-10")]
    # never more than was drawn
    assert text(draw(entries, Decimal(-500), DAY)) == [("b", "-20"), ("a", "-100")]


@given(st.lists(st.decimals(-50, 100, places=3), max_size=12))
def test_nothing_is_drawn_twice(needs: list[Decimal]) -> None:
    entries = [grant(1, "a", "120"), grant(2, "b", "80", date(2027, 1, 1))]
    for need in needs:
        if parts := draw(entries, need, DAY):
            entries.append(Entry(len(entries) + 1, "draw", parts, DAY))
            assert abs(entries[-1].credits) <= abs(need)
    left = balances(entries)
    assert all(Decimal(0) <= one.left <= one.granted for one in left)
    assert sum(one.left for one in left) == 200 - sum(e.credits for e in entries if e.kind == "draw")


def test_full_cover_leaves_nothing_over_by_rounding() -> None:
    # 33.35 and 66.65 credits at 0.01: 0.3335 -> 0.33 and 0.6665 -> 0.67
    lines = [
        credit_line(Decimal("0.3335"), Decimal("0.33"), Decimal("0.01")),
        credit_line(Decimal("0.6665"), Decimal("0.67"), Decimal("0.01")),
    ]
    assert needed(lines) == Decimal(100)
    assert covered(lines, (("a", Decimal(60)), ("b", Decimal(40))), "EUR") == Decimal("1.00")
    # 40.4 of 100: 40.4 x 0.01 = 0.404
    assert covered(lines, (("a", Decimal("40.4")),), "EUR") == Decimal("0.40")
    assert covered(lines, (), "EUR") == Decimal("0.00")


def test_dearer_credits_are_settled_first() -> None:
    lines = [
        credit_line(Decimal("1.00"), Decimal("1.00"), Decimal("0.01")),
        credit_line(Decimal("2.00"), Decimal("2.00"), Decimal("0.02")),
    ]
    # 150 of 200: 100 x 0.02 + 50 x 0.01 = 2.50
    assert covered(lines, (("a", Decimal(150)),), "EUR") == Decimal("2.50")


def test_a_correction_gives_money_back() -> None:
    lines = [credit_line(Decimal("-0.50"), Decimal("-0.50"), Decimal("0.01"))]
    assert needed(lines) == Decimal(-50)
    assert covered(lines, (("a", Decimal(-20)),), "EUR") == Decimal("-0.20")
