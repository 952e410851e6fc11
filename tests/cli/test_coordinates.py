"""PARTITION/OFFSET[/INDEX]."""

from __future__ import annotations

import pytest
from fleetmeter_jobs.cli.coordinates import Coordinates, parse_coordinates
from fleetmeter_jobs.cli.exits import CommandError


def test_a_record_and_an_event_of_it() -> None:
    assert parse_coordinates("3/1542") == Coordinates(3, 1542)
    assert parse_coordinates("3/1542/7") == Coordinates(3, 1542, 7)
    assert parse_coordinates("0/0/0") == Coordinates(0, 0, 0)


@pytest.mark.parametrize("text", ["", "1", "1/", "a/1", "1/2/3/4", "-1/2", "1/2/", " 1/2", "1/²"])
def test_anything_else_is_answered_with_the_form(text: str) -> None:
    with pytest.raises(CommandError, match="PARTITION/OFFSET"):
        parse_coordinates(text)
