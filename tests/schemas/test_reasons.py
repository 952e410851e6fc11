"""Reason codes are stored for ever: their numbers and names are written down here a second time."""

import pytest
from fleetmeter_schemas.reasons import Reason

STABLE = {
    1: "tombstone",
    2: "too_large",
    3: "not_json",
    4: "bad_utf8",
    5: "too_deep",
    6: "bad_arrow",
    7: "not_an_object",
    8: "duplicate_key",
    9: "missing_field",
    10: "wrong_type",
    11: "bad_value",
    12: "unknown_type",
    13: "bad_time",
    14: "fraction",
    15: "negative",
    16: "overflow",
    17: "part_exceeds_whole",
    18: "not_allowed",
    19: "too_old",
    20: "in_future",
}


def test_numbers_and_names_never_change() -> None:
    assert {reason.number: reason.code for reason in Reason} == STABLE


def test_a_number_leads_back_to_its_reason() -> None:
    assert Reason.of_number(15) is Reason.NEGATIVE


@pytest.mark.parametrize("number", [0, -1, 21, 255])
def test_an_unused_number_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match=str(number)):
        Reason.of_number(number)


def test_each_sentence_says_what_was_wrong_and_what_to_do() -> None:
    one_sentence = {Reason.NOT_AN_OBJECT}  # says both at once
    for reason in Reason:
        assert reason in one_sentence or len(reason.sentence.split(". ")) >= 2, reason
        assert reason.sentence.endswith((".", ")"))
    assert len({reason.sentence for reason in Reason}) == len(Reason)
