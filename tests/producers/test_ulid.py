"""ULIDs and sequenced ids: form, order, uniqueness."""

import re
import string
import threading

import pytest
from fleetmeter_producers.incarnation import Incarnation
from fleetmeter_producers.ulid import is_ulid, new_ulid, ulid_of
from hypothesis import given
from hypothesis import strategies as st

# The contract's form of a sequenced id, as workers know it.
SEQUENCED = re.compile(r"^[0-7][0-9A-HJKMNP-TV-Z]{25}-(0|[1-9][0-9]{0,17})$")
CROCKFORD = [ch for ch in string.digits + string.ascii_uppercase if ch not in "ILOU"]

millis = st.integers(0, 2**48 - 1)
randomness = st.integers(0, 2**80 - 1)


def test_the_time_of_the_specification_s_example() -> None:
    assert ulid_of(1469918176385, 0)[:10] == "01ARYZ6S41"


def test_the_largest_ulid() -> None:
    assert ulid_of(2**48 - 1, 2**80 - 1) == "7" + "Z" * 25


@given(millis, randomness)
def test_the_digits_spell_the_128_bits(time: int, random: int) -> None:
    ulid = ulid_of(time, random)
    number = 0
    for digit in ulid:
        number = number * 32 + CROCKFORD.index(digit)
    assert number == time * 2**80 + random
    assert is_ulid(ulid)


@given(st.tuples(millis, randomness), st.tuples(millis, randomness))
def test_text_sorts_as_the_numbers_do(one: tuple[int, int], other: tuple[int, int]) -> None:
    assert (ulid_of(*one) < ulid_of(*other)) == (one < other)


@pytest.mark.parametrize(("time", "random"), [(-1, 0), (2**48, 0), (0, -1), (0, 2**80)])
def test_what_does_not_fit_is_refused(time: int, random: int) -> None:
    with pytest.raises(ValueError, match="48 bits"):
        ulid_of(time, random)


@pytest.mark.parametrize(
    "text", ["", "8" + "Z" * 25, "01arYZ6S41TSV4RRFFQ69G5FAV", "I" * 26, "0" * 25, "0" * 27, "0" * 26 + "\n"]
)
def test_what_is_no_ulid(text: str) -> None:
    assert not is_ulid(text)


def test_new_ulids_differ() -> None:
    assert len({new_ulid() for _ in range(10_000)}) == 10_000


def test_an_incarnation_counts_from_0_without_a_gap() -> None:
    incarnation = Incarnation()
    ids = [incarnation.next_id() for _ in range(1_000)]
    assert ids == [f"{incarnation.ulid}-{sequence}" for sequence in range(1_000)]
    assert all(SEQUENCED.fullmatch(event_id) for event_id in ids)


def test_no_thread_gets_the_id_of_another() -> None:
    incarnation = Incarnation()
    given: list[list[str]] = [[] for _ in range(8)]
    start = threading.Barrier(8)

    def draw(ids: list[str]) -> None:
        start.wait()
        ids.extend(incarnation.next_id() for _ in range(2_000))

    threads = [threading.Thread(target=draw, args=(ids,)) for ids in given]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = {event_id for ids in given for event_id in ids}
    assert together == {f"{incarnation.ulid}-{sequence}" for sequence in range(16_000)}
