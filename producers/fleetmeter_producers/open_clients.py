"""The clients of this process that are not closed: begun anew in a forked child, and drained when the process ends."""

from __future__ import annotations

import atexit
import logging
import os
import sys
from typing import Protocol

_logger = logging.getLogger(__name__)


class OpenClient(Protocol):
    """What is asked of a client."""

    source: str

    def begin_after_fork(self) -> None:
        """Be a client of this process, which was forked from the one that made it."""

    def close_at_exit(self) -> None:
        """Drain for a moment, and close."""


_open: set[OpenClient] = set()
_closes_with_worker: tuple[int, object] | None = None


def remember(client: OpenClient) -> None:
    """A client was made."""
    _open.add(client)


def forget(client: OpenClient) -> None:
    """A client was closed."""
    _open.discard(client)


def close_with_worker_process() -> None:
    """A process that `multiprocessing` forked ends by `os._exit`, without `atexit`; it has ends of its own. To be
    called in the process that sends, since one that begins has not got them yet."""
    global _closes_with_worker  # noqa: PLW0603  (it is the process's, as the clients are)
    util = sys.modules.get("multiprocessing.util")
    if util is not None and (_closes_with_worker is None or _closes_with_worker[0] != os.getpid()):
        _closes_with_worker = os.getpid(), util.Finalize(None, _close_all, exitpriority=0)


def _begin_all_after_fork() -> None:
    for client in tuple(_open):
        try:
            client.begin_after_fork()
        except Exception:
            # The others have to begin anew all the same: an incarnation in two processes would give ids twice.
            _logger.exception("after a fork, the client of %s could not let go of what is its parent's", client.source)


def _close_all() -> None:
    for client in tuple(_open):
        try:
            client.close_at_exit()
        except Exception:
            # The others have events to drain all the same.
            _logger.exception("at the end of the process, the client of %s could not be closed", client.source)


os.register_at_fork(after_in_child=_begin_all_after_fork)
atexit.register(_close_all)
