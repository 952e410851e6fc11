"""Options whose values are more than text: what is read, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import typer
from fleetmeter_jobs.cli.options import decimal


def test_numbers_are_read_exactly() -> None:
    assert [decimal("12.50"), decimal("0")] == [Decimal("12.5"), Decimal(0)]


@pytest.mark.parametrize("number", ["x", "NaN", "Infinity", "-1", ""])
def test_what_is_no_number_is_refused(number: str) -> None:
    with pytest.raises(typer.BadParameter):
        decimal(number)


@pytest.mark.parametrize(
    "arguments",
    [
        ("counterfactual", "local", "--period", "2026-11", "--costs", "c.yaml", "--share", "most"),
        ("counterfactual", "steps", "--period", "2026-11", "--costs", "c.yaml", "--percent", "NaN"),
        ("margin", "drift", "--from", "2026-10", "--to", "2026-11", "--costs", "c.yaml", "--points", "x"),
        ("rates", "publish", "c.yaml", "--total-limit", "NaN"),
        ("routing", "--cloud-query-cost", "-1"),
    ],
    ids=lambda arguments: " ".join(arguments[-2:]),
)
def test_a_number_that_is_none_is_told_with_its_option(
    fleetmeter: Callable[..., Any], arguments: tuple[str, ...]
) -> None:
    ran = fleetmeter(*arguments, "--json")
    assert (ran.code, arguments[-2] in ran.err) == (2, True)
