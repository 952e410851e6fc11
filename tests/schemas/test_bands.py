"""Bands: a label spells its interval, and a value falls into exactly the interval that its label spells."""

import re

import pytest
from fleetmeter_schemas.bands import CONTEXT_BAND, STEPS_BAND, Band
from hypothesis import given
from hypothesis import strategies as st

UNITS = {"": 1, "k": 1_000}


def interval(label: str) -> tuple[int, float]:
    """The interval (above low, up to and including high) that a label spells; the first one includes 0."""
    match = re.fullmatch(r"(\d+)([a-z]*)-(\d+)([a-z]*)", label)
    if match:
        low = int(match[1]) * UNITS[match[4]]
        return (-1 if low == 0 else low), int(match[3]) * UNITS[match[4]]
    match = re.fullmatch(r"(\d+)([a-z]*)\+", label)
    assert match, label
    return int(match[1]) * UNITS[match[2]], float("inf")


@pytest.mark.parametrize("band", [CONTEXT_BAND, STEPS_BAND], ids=lambda band: band.name)
@given(value=st.integers(0, 2**40) | st.integers(0, 2_000))
def test_a_value_lies_in_the_interval_of_its_label(band: Band, value: int) -> None:
    label = band.label(value)
    bare = re.sub(r"(\d)[a-z]+-", r"\1-", label)
    low, high = interval(bare)
    assert low < value <= high


@pytest.mark.parametrize("band", [CONTEXT_BAND, STEPS_BAND], ids=lambda band: band.name)
def test_thresholds_belong_to_the_lower_band(band: Band) -> None:
    for threshold, low, high in zip(band.thresholds, band.labels, band.labels[1:], strict=False):
        assert (band.label(threshold), band.label(threshold + 1)) == (low, high)


def test_labels_are_as_they_were_published() -> None:
    assert CONTEXT_BAND.labels == ("0-32k", "32k-128k", "128k-200k", "200k-272k", "272k-1000k", "1000k+")
    assert STEPS_BAND.labels == (
        "0-5",
        "5-10",
        "10-20",
        "20-30",
        "30-50",
        "50-100",
        "100-200",
        "200-500",
        "500-1000",
        "1000+",
    )


def test_what_is_not_reported_has_no_band() -> None:
    assert STEPS_BAND.label(None) == ""
    assert STEPS_BAND.label(0) == "0-5"
