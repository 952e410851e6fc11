"""The read interface for gateways, over real HTTP on loopback."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from fleetmeter_billing.accounts.account import Account, Subscriber, Subscription
from fleetmeter_billing.accounts.published import cards_of
from fleetmeter_billing.entitlements.service import Caching, Verdict, entitlements_app, serving
from fleetmeter_billing.entitlements.shelf import Contents, Shelf
from fleetmeter_billing.rates.card import PublishedCard, RateCard
from fleetmeter_doubles.certificates import Authority
from fleetmeter_producers.ingest.tls import server_context

CARD = RateCard.model_validate(
    {
        "card": "fleet",
        "currency": "EUR",
        "effective_from": "2026-01-01",
        "meters": {"tokens": {"measure": "output_tokens"}},
        "prices": {"tokens": {"label": "Tokens", "meter": "tokens", "model": {"type": "unit", "amount": "0.01"}}},
        "plans": {
            "basic": {"entitlements": {"model_tiers": ["1b"], "fallback_models": ["big"], "seats": 3}},
            "pro": {"entitlements": {"model_tiers": ["1b", "7b"], "features": ["fine_tuning"]}},
        },
    }
)
PUBLISHED = PublishedCard(
    card=CARD, version=1, published_at=datetime(2026, 1, 1, tzinfo=UTC), published_by="t", content_hash="h"
)
ACME = Subscriber(
    account=Account(account="acme", currency="EUR", time_zone="Europe/Berlin"),
    subscriptions=(
        Subscription.model_validate({"from": date(2026, 10, 1), "card": "fleet", "plan": "basic"}),
        Subscription.model_validate({"from": date(2026, 11, 10), "status": "changed", "plan": "pro"}),
    ),
)
EARLY = datetime(2026, 11, 9, 22, 0, tzinfo=UTC)
"""An hour before midnight in Berlin, when the plan changes."""


class World:
    """A shelf whose clock and store the test holds."""

    def __init__(self) -> None:
        self.now = EARLY
        self.away = False
        self.shelf = Shelf(self._read, now=lambda: self.now)

    def _read(self) -> Contents:
        if self.away:
            raise OSError("ClickHouse is away")
        return Contents({"acme": ACME}, cards_of([PUBLISHED]), lambda _card, _version: PUBLISHED, {})


def judge(header: str | None, account: str) -> Verdict:
    if header != "Bearer secret":
        return "stranger"
    return "allowed" if account != "other" else "forbidden"


Ask = Callable[..., Any]
GOOD = "secret"


def with_server(world: World, story: Callable[[Ask], Any]) -> None:
    async def run() -> None:
        app = entitlements_app(world.shelf, judge, Caching(max_age_s=120, stale_if_error_s=600, refresh_s=3600))
        async with serving(app, "127.0.0.1", 0) as url, aiohttp.ClientSession() as session:

            async def ask(path: str, token: str | None = GOOD, **headers: str) -> tuple[int, Any, Any]:
                given = {name.replace("_", "-"): value for name, value in headers.items()}
                if token is not None:
                    given["Authorization"] = f"Bearer {token}"
                async with session.get(url + path, headers=given) as answer:
                    body = await answer.read()
                    return answer.status, answer.headers, json.loads(body) if body else None

            await story(ask)

    asyncio.run(run())


def test_a_gateway_is_told_what_the_plan_allows_and_until_when() -> None:
    async def story(ask: Ask) -> None:
        status, headers, body = await ask("/v1/accounts/acme/entitlements")
        assert status == 200
        assert headers["Content-Type"].startswith("application/json")
        assert headers["Cache-Control"] == "private, max-age=120, stale-if-error=600"
        assert (body["plan"], body["card"], body["version"], body["status"]) == ("basic", "fleet", 1, "active")
        assert body["model_tiers"] == ["1b"]
        assert {"llama-3.2-1b", "gemma-3-1b"} <= set(body["models"])
        assert "mistral-7b" not in body["models"]
        assert (body["fallback_models"], body["limits"]["seats"], body["stated"]) == (["big"], 3, True)
        # The 10th of November begins in Berlin at 23:00 UTC.
        assert body["valid_until"] == "2026-11-09T23:00:00.000000Z"

    with_server(World(), story)


def test_what_holds_still_is_answered_with_304_and_a_changed_plan_with_another_tag() -> None:
    world = World()

    async def story(ask: Ask) -> None:
        _, headers, _ = await ask("/v1/accounts/acme/entitlements")
        tag = headers["ETag"]
        status, again, body = await ask("/v1/accounts/acme/entitlements", If_None_Match=f'"other", W/{tag}')
        assert (status, again["ETag"], body) == (304, tag, None)
        # 30 s before the change an answer must not be kept for longer.
        world.now = EARLY + timedelta(seconds=3570)
        _, soon, _ = await ask("/v1/accounts/acme/entitlements")
        assert soon["Cache-Control"] == "private, max-age=30, stale-if-error=600"
        world.now = EARLY + timedelta(hours=1)
        status, changed, body = await ask("/v1/accounts/acme/entitlements", If_None_Match=tag)
        assert (status, body["plan"]) == (200, "pro")
        assert changed["ETag"] != tag

    with_server(world, story)


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        ("/v1/accounts/acme/entitlements", None, 401),
        ("/v1/accounts/acme/entitlements", "wrong", 401),
        ("/v1/accounts/other/entitlements", "secret", 403),
        ("/v1/accounts/nobody/entitlements", "secret", 404),
    ],
)
def test_strangers_and_unknown_accounts_are_told_what_is_wrong(path: str, token: str | None, status: int) -> None:
    async def story(ask: Ask) -> None:
        got, headers, body = await ask(path, token)
        assert got == status
        assert headers["Content-Type"].startswith("application/problem+json")
        assert headers["Cache-Control"] == "no-store"
        assert body["status"] == status
        assert body["detail"]

    with_server(World(), story)


def test_the_server_goes_on_with_what_it_knows_when_clickhouse_is_away() -> None:
    world = World()

    async def story(ask: Ask) -> None:
        assert (await ask("/readyz", None))[0] == 200
        world.away = True
        assert world.shelf.refresh() is False
        status, _, body = await ask("/v1/accounts/acme/entitlements")
        assert (status, body["plan"]) == (200, "basic")
        status, _, body = await ask("/readyz", None)
        assert (status, body["error"]) == (200, "OSError: ClickHouse is away")

    with_server(world, story)


def test_a_server_that_never_read_anything_says_so() -> None:
    world = World()
    world.away = True

    async def story(ask: Ask) -> None:
        assert (await ask("/readyz", None))[0] == 503
        status, headers, _ = await ask("/v1/accounts/acme/entitlements")
        assert (status, headers["Retry-After"]) == (503, "5")
        assert (await ask("/healthz", None))[0] == 200

    with_server(world, story)


def test_gateways_are_answered_over_https(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = server_context(authority.issue("server", "127.0.0.1").store_file, None, "", None)

    async def story() -> tuple[str, int]:
        trusting = ssl.create_default_context(cafile=str(authority.ca_file))
        app = entitlements_app(World().shelf, judge)
        async with serving(app, "127.0.0.1", 0, server) as url, aiohttp.ClientSession() as session:
            plain = url.replace("https", "http")
            with pytest.raises(aiohttp.ClientError):
                await session.get(f"{plain}/healthz")
            async with session.get(f"{url}/healthz", ssl=trusting) as answer:
                return url, answer.status

    url, status = asyncio.run(story())
    assert (url.startswith("https://127.0.0.1:"), status) == (True, 200)


def test_the_log_tells_what_a_failed_read_leaves(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.away = True
    assert world.shelf.refresh() is False
    world.away = False
    assert world.shelf.refresh() is True
    world.away = True
    assert world.shelf.refresh() is False
    never, before = (record.getMessage() for record in caplog.records)
    assert never == "no entitlements could be read yet: OSError: ClickHouse is away"
    assert before == "entitlements stay as they were read 0 s ago: OSError: ClickHouse is away"
