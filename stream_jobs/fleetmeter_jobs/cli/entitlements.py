"""`fleetmeter entitlements`: what each account may have, and what it had beyond that."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from fleetmeter_billing.entitlements.document import content_of
from fleetmeter_billing.entitlements.facts import derived_models
from fleetmeter_billing.entitlements.review import AccountReview, review, rules_by_part
from fleetmeter_billing.entitlements.service import Caching, Judge, Verdict, entitlements_app, serving
from fleetmeter_billing.entitlements.shelf import Contents, Shelf
from fleetmeter_billing.entitlements.terms import part_at
from fleetmeter_schemas.catalogue import load_catalogue
from rich.text import Text

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.billing_books import read_cards, read_subscribers
from fleetmeter_jobs.cli.clickhouse import connect
from fleetmeter_jobs.cli.exits import CommandError, Exit
from fleetmeter_jobs.cli.https import Certificate, ClientCa, Key, KeyPasswordFile, https_context
from fleetmeter_jobs.cli.options import DataDir, Given, Json, settings_of_stack
from fleetmeter_jobs.cli.output import console, counted, notes, print_json, print_table, progress
from fleetmeter_jobs.kafka_access import is_loopback
from fleetmeter_jobs.logs import configure_logs

app = command_app(help="Show what accounts may have, and list what they had beyond it; tell gateways.")

_DEFAULT_PORT: Final = 8091
"""Beside the HTTP ingest's 8090."""

PeriodName = Annotated[
    str | None,
    typer.Option("--period", help="A billing period, such as 2026-11; without, the one that each account is in."),
]
AccountOption = Annotated[str | None, typer.Option("--account", help="Only this account.")]


@app.command("show")
def show(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT")],
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Show what an account may have now: models, cloud fallbacks, features, limits. As a gateway would be told.

    Example: fleetmeter entitlements show acme
    """
    settings = settings_of_stack(data_dir, setting)
    now = datetime.now(UTC)
    with connect(settings, database=settings.clickhouse_database) as client:
        cards = read_cards(client)
        subscriber = read_subscribers(client, account)[account]
        (reviewed,) = review(client, [subscriber], now, cards.versions, cards.card_of)
        derived = derived_models(client, [account])
    part = part_at(reviewed.parts, now)
    if part is None:
        raise CommandError(f"{account} has no billing period at {now}.", Exit.DEFECT)
    content = content_of(part, rules_by_part(derived, load_catalogue())(part))
    counts = {one.what: {**asdict(one), "state": one.state} for one in reviewed.standings}
    if as_json:
        print_json({**content, "period": reviewed.period, "counts": counts})
        return
    print_table(
        ("entitlement", "value"),
        [
            (name, ", ".join(value) if isinstance(value, list) else value)
            for name, value in content.items()
            if not isinstance(value, dict)
        ],
        title=f"{account}: {part.plan or 'no subscription'}",
    )
    _print_counts([reviewed])


@app.command("check")
def check(
    period: PeriodName = None,
    account: AccountOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Violations to print; --json prints all.")] = 50,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """List what plans did not allow: downloads, deployments, jobs, cloud fallbacks, too many seats or devices.

    Each event is held against the plan of its time. Nothing is charged or refused by it. Exits 1 if there is a
    violation.

    Example: fleetmeter entitlements check --period 2026-11 --json
    """
    settings = settings_of_stack(data_dir, setting)
    with connect(settings, database=settings.clickhouse_database) as client, progress(quiet=as_json) as shown:
        task = shown.add_task("reading accounts", detail="", total=None)

        def tell(doing: str, done: int, total: int) -> None:
            shown.update(task, description=doing, completed=done, total=total)

        cards = read_cards(client)
        subscribers = list(read_subscribers(client, account).values())
        reviews = review(client, subscribers, period or datetime.now(UTC), cards.versions, cards.card_of, progress=tell)
    violations = [one for each in reviews for one in each.violations]
    if as_json:
        print_json([_as_dict(one) for one in reviews])
    else:
        _print_counts(reviews)
        if violations:
            print_table(
                ("account", "rule", "what happened", "first", "last", "times", "source", "event id"),
                [
                    (v.account, v.rule, v.sentence, v.first, v.last, v.quantity, v.source, v.event_id)
                    for v in violations[:limit]
                ],
                title="Not allowed by the plan",
            )
            if len(violations) > limit:
                console.print(f"... and {len(violations) - limit:,} more: give --limit, or --json for all.")
        else:
            console.print(f"{counted(len(reviews), 'account')}, and no violation.")
    if violations:
        raise typer.Exit(Exit.NO)


@app.command("serve")
def serve(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = _DEFAULT_PORT,
    tokens: Annotated[
        Path | None, typer.Option("--tokens", help="File of `fleetmeter ingest token new`.", dir_okay=False)
    ] = None,
    open_to_all: Annotated[bool, typer.Option("--open", help="Without tokens; only on a loopback address.")] = False,
    certificate: Certificate = None,
    key: Key = None,
    key_password_file: KeyPasswordFile = None,
    client_ca: ClientCa = None,
    max_age_s: Annotated[int, typer.Option("--max-age-s", min=0, help="How long a gateway may keep an answer.")] = 60,
    refresh_s: Annotated[float, typer.Option("--refresh-s", min=1, help="How often everything is read anew.")] = 30.0,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Tell gateways over HTTP what accounts may have: GET /v1/accounts/{account}/entitlements; until Ctrl-C.

    Answers have ETag and Cache-Control; If-None-Match is answered with 304. Tokens are those of the HTTP ingest: one
    reads the accounts whose events it may send.

    Example: fleetmeter entitlements serve --host 0.0.0.0 --tokens /etc/fleetmeter/tokens.json
    """
    tls = https_context(certificate, key, key_password_file, client_ca)
    judge = _judge(tokens, host, open_to_all=open_to_all)
    settings = settings_of_stack(data_dir, setting)
    configure_logs(settings)

    def read() -> Contents:
        with connect(settings, database=settings.clickhouse_database) as client:
            cards = read_cards(client)
            return Contents(read_subscribers(client), cards.versions, cards.card_of, derived_models(client))

    service = entitlements_app(Shelf(read), judge, Caching(max_age_s, refresh_s=refresh_s))

    async def run() -> None:
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        try:
            async with serving(service, host, port, tls) as url:
                print_json({"url": url}) if as_json else notes.print(f"listening on {url}")
                await stopped.wait()
        except OSError as error:
            raise CommandError(f"can't listen on {host}:{port}: {error.strerror}") from error

    asyncio.run(run())


def _judge(tokens: Path | None, host: str, *, open_to_all: bool) -> Judge:
    from fleetmeter_producers.ingest.problem import Problem  # noqa: PLC0415  (only a server needs aiohttp's extra)
    from fleetmeter_producers.ingest.token_book import TokenBook  # noqa: PLC0415

    from fleetmeter_jobs.cli.ingest_token import tokens_to_serve_by  # noqa: PLC0415

    if open_to_all:
        if tokens is not None:
            raise CommandError("--open asks for no token, and --tokens for one: give one of the two.")
        if not is_loopback(host):
            raise CommandError(f"--open is for this machine's own address, not for {host}: give --tokens there.")
        return lambda _header, _account: "allowed"
    if tokens is None:
        raise CommandError(
            "Who may read? Make a token with `fleetmeter ingest token new`, and give its file: --tokens FILE. "
            "For a try on this machine: --open."
        )
    book = TokenBook(tokens_to_serve_by(tokens), events_per_s=None, burst_s=1.0)

    def judge(header: str | None, account: str) -> Verdict:
        book.refresh()
        try:
            caller = book.caller(header)
        except Problem:
            return "stranger"
        return "allowed" if caller.scope.allows_account(account) else "forbidden"

    return judge


def _print_counts(reviews: list[AccountReview]) -> None:
    rows = [
        (
            *(each.account, each.period, each.parts[-1].plan, one.what, one.counted, one.committed, one.limit),
            Text(one.state.replace("_", " "), "" if one.state == "within" else "red"),
        )
        for each in reviews
        for one in each.standings
        if one.counted or one.committed is not None or one.limit is not None
    ]
    if rows:
        print_table(("account", "period", "plan", "what", "counted", "committed", "limit", "state"), rows)


def _as_dict(each: AccountReview) -> dict[str, Any]:
    return {
        "account": each.account,
        "period": each.period,
        "parts": [
            {
                "start": part.start,
                "end": part.end,
                "card": part.card,
                "version": part.version,
                "plan": part.plan,
                "status": part.status,
                "entitlements": part.entitlements.model_dump(mode="json"),
            }
            for part in each.parts
        ],
        "counts": [{**asdict(one), "state": one.state} for one in each.standings],
        "violations": [asdict(one) for one in each.violations],
    }
