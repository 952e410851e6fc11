"""Which worker gets which partition: as evenly as can be, and a partition stays where it is whenever that is even.

A partition that moves is read from the ledger by its new owner, all its identities included, which can take seconds;
one that stays is counted on within milliseconds. aiokafka's assignors don't care (range, round robin), or keep what
they know in the class and lose it (its sticky one: aio-libs/aiokafka#1175, #1176). This one is for members that
subscribe to the same topics, as workers of one group do.

Each member tells which partitions it had; whoever the group elects to decide needs nothing else.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

log = logging.getLogger(__name__)

_VERSION = 0


class StickyAssignor:
    """One per consumer: it remembers what that consumer was assigned last."""

    name = "fleetmeter-sticky"

    def __init__(self) -> None:
        self._had: dict[str, list[int]] = {}

    def metadata(self, topics: Sequence[str]) -> Any:
        """What this member says of itself when it joins."""
        return ConsumerProtocolMemberMetadata(_VERSION, sorted(topics), json.dumps(self._had).encode())

    def on_assignment(self, assignment: Any) -> None:
        """The group has decided."""
        self._had = {topic: sorted(partitions) for topic, partitions in assignment.assignment}

    def assign(self, cluster: Any, members: Mapping[str, Any]) -> dict[str, Any]:
        """Every partition of the topics to one member; called in the member that the group has elected."""
        assigned: dict[str, dict[str, list[int]]] = {member: {} for member in members}
        for topic in sorted({topic for member in members.values() for topic in member.subscription}):
            partitions = cluster.partitions_for_topic(topic)
            if partitions is None:
                log.warning("the metadata have no topic %s yet; the group shares it out when they have", topic)
                continue
            had = {
                member: _had(metadata).get(topic, [])
                for member, metadata in members.items()
                if topic in metadata.subscription
            }
            for member, numbers in share_out(partitions, had).items():
                assigned[member][topic] = numbers
        return {
            member: ConsumerProtocolMemberAssignment(_VERSION, sorted(topics.items()), b"")
            for member, topics in assigned.items()
        }


def share_out(partitions: set[int], had: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """The partitions by member: shares differ by one at most, and as many stay as that allows.

    `had` says what each member had, which may be out of date: a partition that several claim goes to one of them.
    """
    free = set(partitions)
    claims: dict[str, list[int]] = {}
    for member in sorted(had):
        claims[member] = sorted(free.intersection(had[member]))
        free.difference_update(claims[member])
    least, over = divmod(len(partitions), len(had))
    # Those who claim most get the larger shares: every other choice would move more.
    order = sorted(claims, key=lambda member: (-len(claims[member]), member))
    size = {member: least + (place < over) for place, member in enumerate(order)}
    shares = {member: claims[member][: size[member]] for member in order}
    left = sorted(partitions.difference(*shares.values()))
    for member in order:
        missing = size[member] - len(shares[member])
        shares[member] = sorted(shares[member] + left[:missing])
        left = left[missing:]
    return shares


def _had(metadata: Any) -> dict[str, list[int]]:
    try:
        had: dict[str, list[int]] = json.loads(metadata.user_data)
    except (TypeError, ValueError):
        return {}  # of a version that says it in another way: it only costs a move
    return had
