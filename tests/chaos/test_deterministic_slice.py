"""A slice of the deterministic campaign with a fresh seed, every recorded story, and the proof that it can fail."""

from __future__ import annotations

import secrets

import pytest
from fleetmeter_deterministic.campaign import Summary, caught, drawn, play, run, seeds
from fleetmeter_deterministic.mutations import MUTATIONS
from fleetmeter_deterministic.stories import STORIES

# Computes for long in this process, where tracing adds a third; the tests of the parts show what is covered.
pytestmark = pytest.mark.no_cover

SCHEDULES = 100
"""CI plays more of them beside the tests."""
CAUGHT_WITHIN = 600
"""Schedules. Most mutations need one or two, the slowest about a hundred."""


def test_no_interleaving_loses_an_event_or_counts_one_twice() -> None:
    seed = secrets.token_hex(4)
    print(f"schedules from seed {seed}")
    summary = Summary()
    for some in run(seed, SCHEDULES):
        summary.add(some)
        for failure in summary.failures:
            again = f"python tests/chaos/run_deterministic.py --only {failure.seed}"
            pytest.fail("\n".join([again, failure.broken, *failure.story, failure.schedule]))
    assert summary.schedules == SCHEDULES
    assert summary.commits > summary.schedules, "too few commits to tell anything"


@pytest.mark.parametrize("name", STORIES)
def test_a_story_that_once_broke_a_promise_does_not(name: str) -> None:
    assert play(STORIES[name].schedule).broken is None


@pytest.mark.parametrize("name", [name for name, story in STORIES.items() if story.without])
def test_a_story_breaks_a_promise_without_its_piece_of_the_protocol(name: str) -> None:
    story = STORIES[name]
    mutation = MUTATIONS[story.without or ""]
    with mutation.patch():
        broken = play(story.schedule).broken
    assert mutation.explains(broken), f"record another one: --mutate {story.without}; this one says: {broken}"


@pytest.mark.long
@pytest.mark.parametrize("name", MUTATIONS)
def test_the_campaign_fails_without_a_piece_of_the_protocol(name: str) -> None:
    """And not for another reason: the same schedules pass when the piece is in its place."""
    mutation = MUTATIONS[name]
    found = caught(mutation, name, CAUGHT_WITHIN)
    assert found is not None, f"{CAUGHT_WITHIN} schedules passed without {mutation.without}"
    for seed in seeds(name, int(found.rpartition("/")[2]) + 1)[-10:]:
        assert play(drawn(seed, mutation)).broken is None


def test_every_mutation_has_its_story() -> None:
    assert {story.without for story in STORIES.values()} - {None} == set(MUTATIONS)
