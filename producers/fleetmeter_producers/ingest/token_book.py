"""Who is asking: the tokens in force, read again when their file changes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final, Protocol

from fleetmeter_producers.errors import TokenFileError
from fleetmeter_producers.ingest.allowance import Allowance
from fleetmeter_producers.ingest.problem import Problem
from fleetmeter_producers.ingest.tokens import Scope, Token, TokenFile, taken_apart

_logger = logging.getLogger(__name__)

_CHALLENGE: Final = 'Bearer realm="fleetmeter"'


class Caller:
    """A token in force, with what it may send and how much."""

    def __init__(self, token: Token, allowance: Allowance | None) -> None:
        self.token = token
        self.allowance = allowance
        self.scope = Scope(token)


class Book(Protocol):
    """Knows callers by what they show."""

    error: str | None
    """Why what is known may be out of date; None if it is not."""

    def in_force(self) -> int:
        """How many tokens are in force."""

    def caller(self, authorization: str | None) -> Caller:
        """Whose Authorization header this is. Raises `Problem` 401 if it is nobody's."""

    def refresh(self) -> None:
        """Look whether there is something new to know."""


class TokenBook:
    """The tokens of a file. A file that becomes unreadable changes nothing until it is mended: `error` says so.

    Raises `TokenFileError` if the file can't be read at first.
    """

    def __init__(
        self,
        file: TokenFile,
        *,
        events_per_s: float | None,
        burst_s: float,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._file = file
        self._events_per_s = events_per_s
        self._burst_s = burst_s
        self._clock = clock
        self._now = now
        self._callers: dict[str, Caller] = {}
        self.error: str | None = None
        # Taken before reading: a change while we read is seen the next time.
        self._seen = self._stamp()
        self._take(file.tokens())

    def in_force(self) -> int:
        """How many tokens are in force."""
        now = self._now()
        return sum(caller.token.is_live(now) for caller in self._callers.values())

    def caller(self, authorization: str | None) -> Caller:
        """As `Book.caller`."""
        scheme, _, text = (authorization or "").strip().partition(" ")
        if scheme.lower() != "bearer" or not text:
            raise _stranger("send the header Authorization: Bearer fm_..., with a token that the operator gave you")
        parts = taken_apart(text.strip())
        caller = self._callers.get(parts[0]) if parts else None
        if caller is None or parts is None or not caller.token.fits(parts[1]):
            raise _stranger("the token is not known here", 'error="invalid_token"')
        if not caller.token.is_live(self._now()):
            raise _stranger(
                f"the token {caller.token.id} has been revoked or has expired; ask the operator for a new one",
                'error="invalid_token"',
            )
        return caller

    def refresh(self) -> None:
        """Read the file again if it has changed."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._take(self._file.tokens())
        except TokenFileError as error:
            self.error = str(error)
            _logger.error("the tokens stay as they were: %s", error)
        else:
            self.error = None
            _logger.info("%s was read again: %d tokens are in force", self._file.path, self.in_force())

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            stat = self._file.path.stat()
        except OSError:
            return None
        return (stat.st_ino, stat.st_mtime_ns, stat.st_size)

    def _take(self, tokens: list[Token]) -> None:
        self._callers = {token.id: self._caller(token) for token in tokens}

    def _caller(self, token: Token) -> Caller:
        before = self._callers.get(token.id)
        if before is not None and before.token == token:
            return before
        rate = token.events_per_s or self._events_per_s
        allowance = Allowance(rate, self._burst_s, clock=self._clock) if rate else None
        return Caller(token, allowance)


def _stranger(detail: str, more: str = "") -> Problem:
    challenge = f"{_CHALLENGE}, {more}" if more else _CHALLENGE
    return Problem(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": challenge})


class OpenBook:
    """Everybody may send everything: for a try on one's own machine."""

    def __init__(self) -> None:
        token = Token(
            id="0000", name="anybody", sha256="0" * 64, accounts=("*",), sources=("*",), created=datetime.now(UTC)
        )
        self._anybody = Caller(token, None)
        self.error: str | None = None

    def in_force(self) -> int:
        """None; none is needed."""
        return 0

    def caller(self, authorization: str | None) -> Caller:  # noqa: ARG002  (the interface's)
        """Anybody."""
        return self._anybody

    def refresh(self) -> None:
        """Nothing changes here."""
