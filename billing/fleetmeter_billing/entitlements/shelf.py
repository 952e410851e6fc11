"""The accounts and cards that a server answers from: read from ClickHouse every so often, kept when it is away."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fleetmeter_schemas.catalogue import load_catalogue

from fleetmeter_billing.accounts.account import Subscriber
from fleetmeter_billing.accounts.segments import Cards
from fleetmeter_billing.entitlements.document import Document, document_of
from fleetmeter_billing.entitlements.model_rules import ModelRules
from fleetmeter_billing.entitlements.terms import CardOf, entitled_parts, part_at

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Contents:
    """What is known at one moment."""

    subscribers: Mapping[str, Subscriber]
    cards: Cards
    card_of: CardOf
    derived: Mapping[str, Mapping[str, str]]


@dataclass
class Shelf:
    """Documents by account, each made when it is first asked for. `refresh` and `document` may run in any threads.

    `read` reads everything anew and raises whatever ClickHouse's client raises.
    """

    read: Callable[[], Contents]
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    monotonic: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._contents: Contents | None = None
        self._documents: dict[str, Document] = {}
        self._read_at = 0.0
        self.error: str | None = None

    def refresh(self) -> bool:
        """Read anew. On failure what is known stays, `error` says why, and the answer is False."""
        try:
            contents = self.read()
        except Exception as error:  # noqa: BLE001
            # Whatever it is, a damaged row of one account included: a gateway had better decide by what held a minute
            # ago than by nothing, and the next refresh may succeed.
            self.error = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            if self.age_s is None:
                _logger.error("no entitlements could be read yet: %s", self.error)
            else:
                _logger.error("entitlements stay as they were read %.0f s ago: %s", self.age_s, self.error)
            return False
        with self._lock:
            self._contents, self._documents = contents, {}
            self._read_at, self.error = self.monotonic(), None
        return True

    @property
    def age_s(self) -> float | None:
        """Seconds since everything was read; None if it never was."""
        return None if self._contents is None else self.monotonic() - self._read_at

    def document(self, account: str) -> Document | None:
        """What holds of the account now; None for one that is not known.

        Raises LookupError before anything was read, and AccountsError for an account that fits no card.
        """
        now = self.now()
        with self._lock:
            contents, documents = self._contents, self._documents
        if contents is None:
            raise LookupError("accounts were not read yet")
        known = documents.get(account)
        if known is not None and now < known.valid_until:
            return known
        subscriber = contents.subscribers.get(account)
        if subscriber is None:
            return None
        period = subscriber.account.rule.containing(now.astimezone(subscriber.account.zone).date())
        part = part_at(entitled_parts(subscriber, period, contents.cards, contents.card_of), now)
        if part is None:
            raise LookupError(f"{account} has no part of a period at {now}")
        rules = ModelRules(part.entitlements, load_catalogue(), contents.derived.get(account, {}))
        made = documents[account] = document_of(part, rules)
        return made
