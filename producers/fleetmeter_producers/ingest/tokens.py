"""Bearer tokens: who may send events, of which accounts and sources. The file keeps hashes, never a token.

A token is `fm_<id>_<secret>`. The secret has 256 random bits, so that one round of SHA-256 hides it as well as any slow
hash would: there is no dictionary to try.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from fleetmeter_schemas.timestamps import to_rfc3339
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, ValidationError

from fleetmeter_producers.errors import TokenFileError
from fleetmeter_producers.settings import problems_of

PREFIX: Final = "fm"
_ID_BYTES: Final = 6
_SECRET_BYTES: Final = 32
_PAIRS_REMEMBERED: Final = 10_000


def _check_pattern(pattern: str) -> str:
    if not pattern or not pattern.isprintable():
        raise ValueError("a pattern is a name, or one with * for any text; it is not empty")
    return pattern


_Pattern = Annotated[str, AfterValidator(_check_pattern)]
_Moment = Annotated[AwareDatetime, PlainSerializer(to_rfc3339)]


class Token(BaseModel):
    """What is kept of a token. In `accounts` and `sources`, `*` stands for any text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[0-9a-f]{4,64}$")
    name: str = Field(min_length=1, max_length=200)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)
    accounts: tuple[_Pattern, ...] = Field(min_length=1)
    sources: tuple[_Pattern, ...] = Field(min_length=1)
    created: _Moment
    expires: _Moment | None = None
    revoked: _Moment | None = None
    events_per_s: float | None = Field(None, gt=0)

    def is_live(self, now: datetime) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked is None and (self.expires is None or now < self.expires)

    def fits(self, secret: str) -> bool:
        """Whether this is the token's secret; takes as long whatever is wrong with it."""
        return hmac.compare_digest(_hash_of(secret), self.sha256)


class Scope:
    """Which (source, account) pairs a token allows; remembers its answers."""

    def __init__(self, token: Token) -> None:
        self._sources = _matcher(token.sources)
        self._accounts = _matcher(token.accounts)
        self._known: dict[tuple[str, str], str | None] = {}

    def allows_account(self, account: str) -> bool:
        """Whether the token is for this account, whatever the source."""
        return self._accounts.fullmatch(account) is not None

    def forbidden(self, source: str, account: str) -> str | None:
        """The attribute that the token does not allow: `source`, `subject`, or None."""
        pair = (source, account)
        if pair in self._known:
            return self._known[pair]
        found = None
        if not self._sources.fullmatch(source):
            found = "source"
        elif not self._accounts.fullmatch(account):
            found = "subject"
        if len(self._known) < _PAIRS_REMEMBERED:
            self._known[pair] = found
        return found


def _matcher(patterns: Sequence[str]) -> re.Pattern[str]:
    def one(pattern: str) -> str:
        return ".*".join(re.escape(part) for part in re.split(r"\*+", pattern))

    return re.compile("|".join(f"(?:{one(pattern)})" for pattern in patterns), re.DOTALL)


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    tokens: list[Token] = []


class TokenFile:
    """The file that `fleetmeter ingest token` writes and the server reads. Writers take turns; a reader sees the file
    before or after a change, whole."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def tokens(self) -> list[Token]:
        """All tokens, revoked ones too. Raises `TokenFileError` if the file can't be read or is none."""
        try:
            text = self.path.read_bytes()
        except OSError as error:
            raise TokenFileError(
                f"{self.path} can't be read ({(error.strerror or str(error)).lower()}); "
                "make it with: fleetmeter ingest token new"
            ) from error
        try:
            document = _Document.model_validate_json(text)
        except ValidationError as error:
            raise TokenFileError(f"{self.path} is not a file of tokens: {problems_of(error)}") from error
        ids = [token.id for token in document.tokens]
        if len(set(ids)) < len(ids):
            raise TokenFileError(f"{self.path} has a token id twice; take one of the two out")
        return document.tokens

    def add(
        self,
        name: str,
        *,
        accounts: Sequence[str],
        sources: Sequence[str],
        expires: datetime | None = None,
        events_per_s: float | None = None,
    ) -> tuple[Token, str]:
        """Make a token; returns it with its text, which is kept nowhere. Makes the file, readable by its user alone, if
        there is none. Raises `TokenFileError` for a bad pattern, and as `tokens`."""
        identifier, secret = secrets.token_hex(_ID_BYTES), secrets.token_urlsafe(_SECRET_BYTES)
        try:
            token = Token(
                id=identifier,
                name=name,
                sha256=_hash_of(secret),
                accounts=tuple(accounts),
                sources=tuple(sources),
                created=datetime.now(UTC),
                expires=expires,
                events_per_s=events_per_s,
            )
        except ValidationError as error:
            raise TokenFileError(problems_of(error)) from error
        with self._turn():
            self._write([*(self.tokens() if self.path.exists() else []), token])
        return token, f"{PREFIX}_{identifier}_{secret}"

    def revoke(self, identifier: str) -> Token:
        """Mark a token as revoked; it stays in the list. Raises `TokenFileError` for an unknown id, and as `tokens`."""
        with self._turn():
            tokens = self.tokens()
            found = next((token for token in tokens if token.id == identifier), None)
            if found is None:
                raise TokenFileError(
                    f"{self.path} has no token {identifier}; `fleetmeter ingest token list` shows their ids"
                )
            revoked = found.model_copy(update={"revoked": found.revoked or datetime.now(UTC)})
            self._write([revoked if token is found else token for token in tokens])
        return revoked

    @contextmanager
    def _turn(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def _write(self, tokens: list[Token]) -> None:
        text = _Document(tokens=tokens).model_dump_json(indent=2) + "\n"
        with tempfile.NamedTemporaryFile("w", dir=self.path.parent, prefix=f".{self.path.name}-", delete=False) as file:
            try:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                if self.path.exists():
                    # A server under another user may have been allowed to read it.
                    os.chmod(file.name, self.path.stat().st_mode & 0o777)  # noqa: PTH101
                Path(file.name).replace(self.path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise


def taken_apart(text: str) -> tuple[str, str] | None:
    """The id and the secret of a token's text; None if it does not look like one."""
    prefix, _, rest = text.partition("_")
    identifier, _, secret = rest.partition("_")
    return (identifier, secret) if prefix == PREFIX and identifier and secret else None


def _hash_of(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
