"""The one way in which anything enters the ledger: a guarded, token-deduplicated insert, tried until it is decided.

Token and guard together are a compare-and-swap. The token lets one of several racing inserts win, in whatever order
they arrive; the guard, evaluated when the statement starts, stops an insert that comes after the token has aged out of
ClickHouse's window. The rule that makes trying again safe:

    time-out, disconnect, any error  ->  the same token again.
    "done", and nothing has changed  ->  a ghost: raise the attempt.

A *ghost* is a token that was logged although its part never appeared (ClickHouse logs first and renames then; a crash
or a full disk can come between). Whoever gets "done" for a token knows that it is in the log: no insert with it, not
even one of our own that is still on its way, can add rows any more. That, and nothing else, makes the next attempt
safe. After an error the token may not be logged yet, so that an earlier insert could still land beside a raised one.

On replicas there are no ghosts, since Keeper takes a token and its part in one step. "Done, and nothing has changed"
then says that the read is older than the insert, so that a raised attempt could count twice: the same token again.

What this rests on: the table remembers a token for longer than a change can stay undecided while somebody tries to make
it. A ghost that nobody resolves for a whole window, and that two rivals come upon just as its token is forgotten, could
let one of them in under the old attempt and the other under the raised one; hence the wide window (see `canary`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from fleetmeter_jobs.ledger.context import CommitContext
from fleetmeter_jobs.ledger.errors import CommitAbandonedError, StoreUnavailableError
from fleetmeter_jobs.ledger.retry import pause
from fleetmeter_jobs.ledger.store import Guard, LedgerRows, LedgerStore

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Swapped(Generic[T]):
    """What is there now, whoever wrote it, and what it took us."""

    now: T
    token: str
    """The token of the last insert."""
    inserts: int
    errors: int
    ghosts: int


def compare_and_swap(
    store: LedgerStore,
    rows: LedgerRows,
    guard: Guard,
    token_of: Callable[[int], str],
    read: Callable[[], T],
    unchanged: Callable[[T], bool],
    context: CommitContext,
) -> Swapped[T]:
    """Insert until what `read` gives is no longer `unchanged`, by us or by a rival; then return it.

    `token_of(attempt)` names the insert; rivals for the same change must name it alike. There is no last attempt: a
    limit would, after a restart, stop a worker at tokens that ghosts have used up.

    Raises CommitAbandonedError when told to stop, and whatever the store raises that trying again can't cure. The
    outcome is then unknown: read it back before anything else.
    """
    attempt = inserts = errors = ghosts = failures = 0
    while True:
        token = token_of(attempt)
        if context.cancel.is_set():
            raise CommitAbandonedError(f"told to stop before insert {token}; nothing new was sent")
        done = False
        context.observer.at("before_insert", token)
        try:
            inserts += 1
            store.insert(rows, guard, token)
            done = True
        except StoreUnavailableError as error:
            errors += 1
            failures += 1
            context.observer.failed(token, error)
        context.observer.at("after_insert", token)
        while True:
            context.observer.at("before_read_back", token)
            try:
                now = read()
                break
            except StoreUnavailableError as error:
                errors += 1
                failures += 1
                context.observer.failed(token, error)
                pause(context.cancel, context.backoff.wait_s(failures), f"reading back {token}")
        if not unchanged(now):
            return Swapped(now, token, inserts, errors, ghosts)
        if done and not context.ghosts:
            failures += 1
            context.observer.failed(token, _stale(token))
            pause(context.cancel, context.backoff.wait_s(failures), f"trying {token} again")
        elif done:
            failures = 0
            ghosts += 1
            context.observer.ghost(token)
            attempt += 1
            # Short, for a worker that starts over walks past every ghost of its predecessor; not zero, for a store
            # that says "done" and does nothing must not be hammered.
            pause(context.cancel, context.backoff.wait_s(1), f"raising the attempt after {token}")
        else:
            pause(context.cancel, context.backoff.wait_s(failures), f"trying {token} again")


def _stale(token: str) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"insert {token} was answered as done, but the replica that is read does not have it yet. If that lasts, see "
        "system.replicas and system.replication_queue for what it waits for"
    )
