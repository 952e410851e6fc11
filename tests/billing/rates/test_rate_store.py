"""Publishing into a real ClickHouse: versions without gaps, one winner, nothing changed afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from clickhouse_connect.driver.client import Client
from fleetmeter_billing.errors import CardUnknownError, LogDamagedError, PublishRefusedError
from fleetmeter_billing.examples import example_names, example_text
from fleetmeter_billing.rates.card import RateCard
from fleetmeter_billing.rates.loading import parse_card
from fleetmeter_billing.rates.store import (
    Publisher,
    load_card,
    newest_card,
    publish,
    published_cards,
    published_source,
)
from fleetmeter_billing.usage.meter_sql import meter_statements
from fleetmeter_doubles import billing_store
from fleetmeter_local import RunningClickHouse

pytestmark = pytest.mark.clickhouse

OCTOBER = Publisher("anna", "launch", datetime(2026, 10, 20, 12, tzinfo=UTC))


def card(amount: str = "0.25", *, effective: str = "2026-11-01", name: str = "fleet", more: str = "") -> RateCard:
    return parse_card(
        f"{{card: {name}, currency: EUR, effective_from: {effective}, meters: {{m: {{measure: requests}}}}, "
        f"prices: {{p: {{label: Requests, meter: m, model: {{type: unit, amount: {amount}}}}}}}{more}}}"
    )


@pytest.fixture(scope="module")
def new_client(clickhouse: RunningClickHouse) -> Iterator[Callable[[], Client]]:
    """Clients on one database of this module; tests have cards of their own."""
    with billing_store.new_store(clickhouse) as store:
        yield lambda: billing_store.new_client(clickhouse, store.client.database)


@pytest.fixture
def client(new_client: Callable[[], Client]) -> Iterator[Client]:
    with new_client() as made:
        yield made


def test_versions_follow_one_another(client: Client) -> None:
    first = publish(client, card(), OCTOBER, source="# the first\n")
    assert (first.is_new, first.published.version) == (True, 1)
    second = publish(client, card("0.30", effective="2026-12-01"), OCTOBER)
    assert (second.is_new, second.published.version) == (True, 2)
    assert [one.card.prices["p"].model.amount for one in published_cards(client, "fleet")] == [  # type: ignore[union-attr]
        first.published.card.prices["p"].model.amount,  # type: ignore[union-attr]
        second.published.card.prices["p"].model.amount,  # type: ignore[union-attr]
    ]
    assert load_card(client, "fleet", 1) == first.published
    assert published_source(client, "fleet", 1) == "# the first\n"
    with pytest.raises(CardUnknownError, match="versions 1 to 2, and no version 3"):
        load_card(client, "fleet", 3)


def test_the_same_content_is_not_published_twice(client: Client) -> None:
    first = publish(client, card(name="same"), OCTOBER)
    again = publish(client, card("0.250", name="same"), Publisher("ben"))
    assert (again.is_new, again.published) == (False, first.published)
    assert len(published_cards(client, "same")) == 1


def test_another_order_of_prices_is_another_card(client: Client) -> None:
    fee, seats = "a: {label: Fee, model: {type: flat, amount: 5}}", "b: {label: Seats, model: {type: flat, amount: 9}}"
    head = "card: order, currency: EUR, effective_from: 2026-11-01, meters: {m: {measure: requests}}"
    for number, prices in enumerate((f"{fee}, {seats}", f"{seats}, {fee}"), 1):
        made = publish(client, parse_card(f"{{{head}, prices: {{{prices}}}}}"), OCTOBER)
        assert (made.is_new, made.published.version) == (True, number)
    assert [*load_card(client, "order", 2).card.prices] == ["b", "a"]


def test_what_may_not_follow_is_refused(client: Client) -> None:
    arms = ", plans: {a: {}, b: {}}, experiments: {x: {salt: SALT, on: a, arms: {one: ARM_A, two: ARM_B}}}"
    arms = arms.replace("ARM_A", "{weight: 1, plan: a}").replace("ARM_B", "{weight: 1, plan: b}")
    publish(client, card(name="rules", effective="2026-11-10", more=arms), OCTOBER)
    with pytest.raises(PublishRefusedError, match="can't hold from 2026-11-09 already"):
        publish(client, card(name="rules", effective="2026-11-09"), OCTOBER)
    dollars = card(name="rules", effective="2026-11-10").model_copy(update={"currency": "USD"})
    with pytest.raises(PublishRefusedError, match="is in EUR and can't change to USD"):
        publish(client, dollars, OCTOBER)
    with pytest.raises(PublishRefusedError, match="experiment x of rules runs"):
        publish(client, card(name="rules", effective="2026-12-01", more=arms.replace("SALT", "other")), OCTOBER)
    late = Publisher("anna", at=datetime(2026, 11, 20, tzinfo=UTC))
    with pytest.raises(PublishRefusedError, match="say --backdated"):
        publish(client, card("1", name="rules", effective="2026-11-10", more=arms), late)
    assert publish(client, card("1", name="rules", effective="2026-11-10", more=arms), late, backdated=True).is_new
    assert len(published_cards(client, "rules")) == 2


def test_a_review_may_refuse_before_anything_is_written(client: Client) -> None:
    seen = []

    def review(newest: object, given: RateCard) -> None:
        seen.append((newest, given))
        raise PublishRefusedError("too dear")

    with pytest.raises(PublishRefusedError, match="too dear"):
        publish(client, card(name="dear"), OCTOBER, review=review)
    assert seen == [(None, card(name="dear"))]
    assert newest_card(client, "dear") is None


def test_of_several_who_publish_at_once_one_wins(new_client: Callable[[], Client]) -> None:
    barrier = threading.Barrier(4)
    told: list[object] = []

    def one(number: int) -> None:
        with new_client() as client:
            barrier.wait()
            try:
                told.append(publish(client, card(f"0.{number + 1}", name="race"), OCTOBER).published)
            except PublishRefusedError as error:
                told.append(str(error))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with new_client() as client:
        there = published_cards(client, "race")
    # Who came when the winner was already there published the next version; whoever raced for the same was refused.
    winners = [one for one in told if not isinstance(one, str)]
    assert sorted(one.version for one in winners) == list(range(1, len(there) + 1))  # type: ignore[attr-defined]
    assert sorted(winners, key=lambda one: one.version) == there  # type: ignore[attr-defined]
    assert all("meanwhile" in one for one in told if isinstance(one, str))
    assert len(told) == 4


def test_a_large_card_gets_in_whole(client: Client) -> None:
    source = "# ünï 'quoted' \\ \t{braces}\n" * 4000
    large = card(name="large").model_copy(update={"description": "x'\\\n{}" * 10_000})
    publish(client, large, OCTOBER, source=source)
    assert published_source(client, "large", 1) == source
    assert load_card(client, "large", 1).card == large


def test_a_card_that_is_too_large_is_refused(client: Client) -> None:
    with pytest.raises(PublishRefusedError, match="250,000 can be published"):
        publish(client, card(name="huge"), OCTOBER, source="x" * 250_000)


@pytest.mark.parametrize("name", example_names())
def test_clickhouse_understands_the_meters_of_the_examples(client: Client, name: str) -> None:
    meters = list(parse_card(example_text(name)).meters.values())
    statements = meter_statements(meters)
    assert {meter.name for one in statements for meter in one.meters} == {meter.name for meter in meters}
    scope = {"closed": [], "usage_period": "2026-11", "card": name, "version": 1, "accounts": []}
    for one in statements:
        assert client.query(one.text, parameters={**scope, **one.parameters}).result_rows == []


def test_content_that_somebody_changed_is_noticed(client: Client) -> None:
    publish(client, card(name="changed"), OCTOBER)
    client.command(
        "ALTER TABLE billing_rate_cards UPDATE content = replace(content, '0.25', '0.20') WHERE card = 'changed'",
        settings={"mutations_sync": 2},
    )
    with pytest.raises(LogDamagedError, match="is not what was published"):
        load_card(client, "changed", 1)
