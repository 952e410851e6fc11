"""What is set aside is accepted by whoever leaves the client, before it has left."""

from __future__ import annotations

import pytest
from fleetmeter_producers.interruptions import Interruptions


def test_whoever_leaves_accepts_what_came_in_between_in_order() -> None:
    accepted: list[bytes] = []
    interruptions = Interruptions(accepted.append)
    with interruptions:
        with interruptions:
            interruptions.put_aside(b"1")
            interruptions.put_aside(b"2")
        assert accepted == [], "the outer call may still hold a lock"
    assert accepted == [b"1", b"2"]
    assert not interruptions


def test_what_interrupts_the_leaving_is_accepted_too_from_inside() -> None:
    accepted: list[tuple[bytes, bool]] = []

    def accept(value: bytes) -> None:
        accepted.append((value, bool(interruptions)))
        if value == b"1":
            interruptions.put_aside(b"2")

    interruptions = Interruptions(accept)
    with interruptions:
        interruptions.put_aside(b"1")
    assert accepted == [(b"1", True), (b"2", True)]
    assert not interruptions


def test_a_thread_is_outside_again_though_accepting_failed() -> None:
    def refuse(value: bytes) -> None:
        raise OSError(value)

    interruptions = Interruptions(refuse)
    with pytest.raises(OSError, match="1"), interruptions:
        interruptions.put_aside(b"1")
    assert not interruptions, "later events would wait for ever"
