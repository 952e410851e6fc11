"""Partitions are shared out evenly, and move only where that asks for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from fleetmeter_jobs.transport.assignor import StickyAssignor, share_out
from hypothesis import given
from hypothesis import strategies as st

MEMBERS = st.sets(st.integers(0, 40).map(lambda number: f"member-{number}"), min_size=1, max_size=9)


@dataclass
class Cluster:
    """Metadata with some topics."""

    topics: dict[str, int]

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return set(range(self.topics[topic])) if topic in self.topics else None


@given(partitions=st.integers(0, 40), before=MEMBERS, after=MEMBERS, data=st.data())
def test_shares_are_even_and_as_few_as_possible_move(
    partitions: int, before: set[str], after: set[str], data: st.DataObject
) -> None:
    """From any even or uneven state to the next, with members that came and went, and claims that contradict."""
    numbers = set(range(partitions))
    subsets = st.sets(st.sampled_from(sorted(numbers))) if numbers else st.just(set())
    had = {member: sorted(data.draw(subsets)) if member in before else [] for member in after}
    shares = share_out(numbers, had)
    assert sorted(number for share in shares.values() for number in share) == sorted(numbers)
    sizes = [len(shares[member]) for member in after]
    assert max(sizes) - min(sizes) <= 1


@given(partitions=st.integers(0, 40), before=MEMBERS, after=MEMBERS)
def test_what_moves_is_what_evenness_asks_for(partitions: int, before: set[str], after: set[str]) -> None:
    numbers = set(range(partitions))
    first = share_out(numbers, {member: [] for member in before})
    second = share_out(numbers, {member: first.get(member, []) for member in after})
    stayed = sum(len(set(first[member]) & set(second[member])) for member in before & after)
    # The most that can stay: each stayer keeps what it has, up to the larger share for as many as may have it.
    least, over = divmod(partitions, len(after))
    kept = sorted((len(first[member]) for member in before & after), reverse=True)
    assert stayed == sum(min(has, least + (place < over)) for place, has in enumerate(kept))


def test_a_member_remembers_what_it_was_assigned() -> None:
    cluster = Cluster({"usage": 4})
    alone = StickyAssignor()
    alone.on_assignment(alone.assign(cluster, {"a": alone.metadata(["usage"])})["a"])
    newcomer = StickyAssignor()
    shared = newcomer.assign(cluster, {"a": alone.metadata(["usage"]), "b": newcomer.metadata(["usage"])})
    assert [[tuple(one) for one in shared[member].assignment] for member in ("a", "b")] == [
        [("usage", [0, 1])],
        [("usage", [2, 3])],
    ]


def test_the_unknown_is_no_reason_to_fail() -> None:
    """A topic that the metadata don't have yet, and a member whose version says in another way what it had."""
    assignor = StickyAssignor()
    stranger: Any = assignor.metadata(["usage"])
    stranger.user_data = b"\xff"
    assert json.loads(assignor.metadata(["usage"]).user_data) == {}
    assigned = assignor.assign(Cluster({}), {"a": stranger})
    assert assigned["a"].assignment == []
    assigned = assignor.assign(Cluster({"usage": 1}), {"a": stranger})
    assert [tuple(one) for one in assigned["a"].assignment] == [("usage", [0])]
