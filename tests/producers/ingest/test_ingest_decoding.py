"""A bomb is never inflated further than to the limit."""

from __future__ import annotations

import gzip
import tracemalloc
from http import HTTPStatus

import cramjam
import pytest
from fleetmeter_producers.ingest.decoding import decode, encoding_of
from fleetmeter_producers.ingest.problem import Problem

LIMIT_BYTES = 200_000
INFLATED_BYTES = 60_000_000


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_bomb_takes_no_more_memory_than_what_is_allowed(encoding: str) -> None:
    bomb = bytes((gzip.compress if encoding == "gzip" else cramjam.zstd.compress)(bytes(INFLATED_BYTES)))
    tracemalloc.start()
    try:
        with pytest.raises(Problem) as caught:
            decode(bomb, encoding, LIMIT_BYTES)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    assert peak_bytes < 4 * LIMIT_BYTES


def test_many_small_members_add_up() -> None:
    member = gzip.compress(bytes(LIMIT_BYTES // 2))
    assert len(decode(member * 2, "gzip", LIMIT_BYTES)) == LIMIT_BYTES
    with pytest.raises(Problem, match="after decompression"):
        decode(member * 3, "gzip", LIMIT_BYTES)


@pytest.mark.parametrize("header", [None, "", "identity", " Identity "])
def test_no_encoding(header: str | None) -> None:
    assert encoding_of(header) is None
    assert decode(b"as it is", None, 1) == b"as it is"
