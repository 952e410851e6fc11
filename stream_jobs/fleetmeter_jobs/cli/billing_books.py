"""What commands of billing read first: published cards and accounts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fleetmeter_billing.accounts.account import Subscriber
from fleetmeter_billing.accounts.account_store import load_accounts
from fleetmeter_billing.accounts.published import cards_of
from fleetmeter_billing.accounts.segments import Cards
from fleetmeter_billing.errors import CardUnknownError
from fleetmeter_billing.rates.card import PublishedCard
from fleetmeter_billing.rates.store import published_cards

from fleetmeter_jobs.cli.exits import CommandError


@dataclass(frozen=True)
class PublishedCards:
    """Every published version of every card, read once."""

    all: tuple[PublishedCard, ...]

    @property
    def versions(self) -> Cards:
        """As billing periods are cut by."""
        return cards_of(self.all)

    @property
    def card_of(self) -> Callable[[str, int], PublishedCard]:
        """Looks a version up; raises CardUnknownError."""
        known = {(one.card.card, one.version): one for one in self.all}

        def find(card: str, version: int) -> PublishedCard:
            try:
                return known[card, version]
            except KeyError:
                raise CardUnknownError(f"{card} has no version {version}: see `fleetmeter rates list`") from None

        return find

    def newest(self, card: str) -> PublishedCard:
        """The newest version. Raises CardUnknownError."""
        versions = [one for one in self.all if one.card.card == card]
        if not versions:
            raise CardUnknownError(f"no version of {card} is published: see `fleetmeter rates list`")
        return versions[-1]


def read_cards(client: Any) -> PublishedCards:
    """The cards of a database."""
    return PublishedCards(tuple(published_cards(client)))


def read_subscribers(client: Any, account: str | None = None) -> Mapping[str, Subscriber]:
    """All accounts, or the one that is named. Raises CommandError if it is not there."""
    found = {name: one.subscriber for name, one in load_accounts(client, account).items()}
    if account is not None and account not in found:
        raise CommandError(f"There is no account {account!r}: see `fleetmeter accounts list`.")
    return found
