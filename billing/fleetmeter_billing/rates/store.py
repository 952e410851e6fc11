"""Published rate cards in ClickHouse: versions 1, 2, 3, ... of each card, which nothing changes afterwards.

Publishing is a compare-and-swap on the version: of several who publish at once one wins, and the others are told. What
was published already is not published again.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from fleetmeter_billing.clickhouse import READ_SETTINGS, BillingClient, in_utc
from fleetmeter_billing.errors import CardUnknownError, LogDamagedError, PublishRefusedError
from fleetmeter_billing.linear_log import LinearLog, Patience
from fleetmeter_billing.rates.card import PublishedCard, RateCard, hash_of

_COLUMNS = "version, content, content_hash, published_by, published_at"

PATIENCE: Final = Patience()
_LARGEST: Final = 250_000
"""Bytes of content and file: they travel in an address, which ClickHouse limits to a megabyte."""

Review = Callable[[PublishedCard | None, RateCard], None]
"""Looks at the newest version and the card that shall follow it, before anything is written; raises to refuse."""


@dataclass(frozen=True, slots=True)
class Publication:
    """What publishing came to. `is_new` is false if the newest version had said the same already."""

    published: PublishedCard
    is_new: bool


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who publishes, why, and what the clock says (aware)."""

    by: str
    reason: str = ""
    at: datetime | None = None


def publish(
    client: BillingClient,
    card: RateCard,
    publisher: Publisher,
    *,
    source: str = "",
    backdated: bool = False,
    review: Review | None = None,
    patience: Patience = PATIENCE,
) -> Publication:
    """Publish the card as the version after its newest, unless that says the same: then nothing is written.

    Raises PublishRefusedError if the version may not follow the one before (see `check_succession`), if it would hold
    from a day in the past and `backdated` does not say that this is meant, or if somebody else published meanwhile;
    what `review` raises; and OutcomeUnknownError if ClickHouse does not answer: publish again, then.
    """
    at = publisher.at or datetime.now(UTC)
    newest = newest_card(client, card.card)
    if newest is not None and _says_the_same(newest.card, card):
        return Publication(newest, is_new=False)
    if newest is not None:
        check_succession(newest, card)
        if card.effective_from < at.date() and not backdated:
            raise PublishRefusedError(
                f"{card.card} would hold from {card.effective_from}, which is past (today is {at.date()} UTC): usage "
                "that is not billed yet would change its price. Give a later effective_from, or say --backdated"
            )
    if (size := len(card.to_json().encode()) + len(source.encode())) > _LARGEST:
        raise PublishRefusedError(f"{card.card} and its file have {size:,} bytes; {_LARGEST:,} can be published")
    if review is not None:
        review(newest, card)
    version = 1 if newest is None else newest.version + 1
    published = PublishedCard(
        card=card, version=version, published_at=at, published_by=publisher.by, content_hash=card.content_hash
    )
    name = uuid.uuid4().hex
    winner = _log(card.card).append(
        client, version, _columns(published, name, publisher.reason, source), patience=patience
    )
    if winner == name:
        return Publication(published, is_new=True)
    there = load_card(client, card.card, version)
    if _says_the_same(there.card, card):
        return Publication(there, is_new=False)
    raise PublishRefusedError(
        f"{there.published_by} published version {version} of {card.card} meanwhile: see `fleetmeter rates diff`, and "
        "publish again if yours is still right"
    )


def _says_the_same(one: RateCard, other: RateCard) -> bool:
    """Also in the same order, in which lines stand and fixed discounts are spent; equal mappings may differ in it."""
    return one.to_json() == other.to_json()


def check_succession(newest: PublishedCard, card: RateCard) -> None:
    """Whether a card may follow the newest version. Raises PublishRefusedError.

    The currency stays, since subscriptions pay in it. The effective date never goes back behind the newest version's,
    or it would replace what that version says of days before. An experiment keeps its arms while it has its name.
    """
    old = newest.card
    if card.currency != old.currency:
        raise PublishRefusedError(
            f"{card.card} is in {old.currency} and can't change to {card.currency}: subscriptions pay in it. Give the "
            "card another name"
        )
    if card.effective_from < old.effective_from:
        raise PublishRefusedError(
            f"version {newest.version} of {card.card} holds from {old.effective_from}; the next one can't hold from "
            f"{card.effective_from} already"
        )
    for name, experiment in card.experiments.items():
        if name in old.experiments and old.experiments[name] != experiment:
            raise PublishRefusedError(
                f"experiment {name} of {card.card} runs, and its arms must not change: end it by leaving it out, or "
                "give the new one another name"
            )


def published_cards(client: BillingClient, card: str | None = None) -> list[PublishedCard]:
    """All versions of a card, or of all cards: by name, oldest first."""
    where = "1" if card is None else "card = {card:String}"
    rows = client.query(
        f"SELECT {_COLUMNS} FROM billing_rate_cards WHERE {where} ORDER BY card, version",  # noqa: S608
        parameters={} if card is None else {"card": card},
        settings=READ_SETTINGS,
    ).result_rows
    return [_read(row) for row in rows]


def newest_card(client: BillingClient, card: str) -> PublishedCard | None:
    """The newest version of a card; None if none was published."""
    rows = client.query(
        f"SELECT {_COLUMNS} FROM billing_rate_cards WHERE card = {{card:String}} "  # noqa: S608
        "ORDER BY version DESC LIMIT 1",
        parameters={"card": card},
        settings=READ_SETTINGS,
    ).result_rows
    return _read(rows[0]) if rows else None


def load_card(client: BillingClient, card: str, version: int) -> PublishedCard:
    """One version. Raises CardUnknownError, which names the versions that there are."""
    found = {one.version: one for one in published_cards(client, card)}
    if version not in found:
        there = f"versions 1 to {max(found)}" if found else "no version"
        raise CardUnknownError(f"{card} has {there}, and no version {version}: see `fleetmeter rates list`")
    return found[version]


def published_source(client: BillingClient, card: str, version: int) -> str:
    """The file that a version was published from, as it was. Raises CardUnknownError."""
    rows: Sequence[Sequence[Any]] = client.query(
        "SELECT source FROM billing_rate_cards WHERE card = {card:String} AND version = {version:UInt32}",
        parameters={"card": card, "version": version},
        settings=READ_SETTINGS,
    ).result_rows
    if not rows:
        raise CardUnknownError(f"{card} has no version {version}: see `fleetmeter rates list`")
    return str(rows[0][0])


def _log(card: str) -> LinearLog:
    return LinearLog("billing_rate_cards", "version", "publication", {"card": ("String", card)})


def _columns(published: PublishedCard, name: str, reason: str, source: str) -> dict[str, tuple[str, object]]:
    card = published.card
    return {
        "publication": ("String", name),
        "currency": ("String", card.currency),
        "effective_from": ("Date", card.effective_from.isoformat()),
        "content_hash": ("String", card.content_hash),
        "content": ("String", card.to_json()),
        "source": ("String", source),
        "reason": ("String", reason),
        "published_by": ("String", published.published_by),
        "published_at": ("DateTime64(3, 'UTC')", f"{published.published_at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3]),
    }


def _read(row: Sequence[Any]) -> PublishedCard:
    version, content, content_hash, published_by, published_at = row
    stored = content_hash.decode() if isinstance(content_hash, bytes) else content_hash
    if hash_of(content) != stored:
        raise LogDamagedError(
            f"version {version} of a rate card is not what was published: its content has the hash {hash_of(content)}, "
            f"and {stored} was written. Find out who changed it before anything is billed: {content[:80]}"
        )
    card = RateCard.model_validate_json(content)
    return PublishedCard(
        card=card,
        version=version,
        published_at=in_utc(published_at),
        published_by=published_by,
        content_hash=stored,
    )
