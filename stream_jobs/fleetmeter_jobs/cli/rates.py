"""`fleetmeter rates`: prices as files that are checked, published once and for all, and compared."""

from __future__ import annotations

import json
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from fleetmeter_billing.decide.publish_guard import ChangeLimits, guard
from fleetmeter_billing.examples import example_names, example_text
from fleetmeter_billing.rates.card import PublishedCard, RateCard
from fleetmeter_billing.rates.difference import differences
from fleetmeter_billing.rates.loading import CardRefusedError, load_card, parse_card, read_card_text
from fleetmeter_billing.rates.remarks import remarks
from fleetmeter_billing.rates.schema import card_schema
from fleetmeter_billing.rates.store import Publisher, newest_card, publish, published_cards, published_source
from fleetmeter_billing.rates.store import load_card as load_version
from rich.text import Text

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.clickhouse import connect, connect_to_write
from fleetmeter_jobs.cli.exits import CommandError, Exit
from fleetmeter_jobs.cli.options import DataDir, Given, Json, decimal, settings_of_stack
from fleetmeter_jobs.cli.output import console, counted, notes, print_json, print_table
from fleetmeter_jobs.cli.rates_simulate import simulate_card
from fleetmeter_jobs.cli.this_user import this_user

app = command_app(help="Check, publish, list, compare and try rate cards.")
app.command("simulate")(simulate_card)

_LIMITS = ChangeLimits()
CardFile = Annotated[Path, typer.Argument(metavar="FILE", help="The rate card, in YAML.", dir_okay=False)]
CardName = Annotated[str, typer.Argument(metavar="CARD", help="Name of a published card.")]
Version = Annotated[int | None, typer.Option("--version", min=1, help="A version; without, the newest.")]


@app.command("check")
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Rate cards, in YAML.", dir_okay=False)],
    as_json: Json = False,
) -> None:
    """Check rate cards without publishing them: every broken rule with its line. Exits 1 if there is one.

    Remarks are about what is allowed and yet worth a second look, such as a bill that falls when usage rises.

    Example: fleetmeter rates check prices.yaml
    """
    found: list[dict[str, Any]] = []
    for file in files:
        try:
            card = load_card(file)
        except CardRefusedError as error:
            problems = [_problem(one) for one in error.problems]
            found.append({"file": str(file), "card": None, "problems": problems, "remarks": []})
            if not as_json:
                console.print(Text(str(error)), soft_wrap=True)
        else:
            noted = remarks(card)
            shown = [{"path": one.path, "sentence": one.sentence} for one in noted]
            found.append({"file": str(file), "card": card.card, "problems": [], "remarks": shown})
            if not as_json:
                console.print(f"{file}: {_summary(card)}", soft_wrap=True)
                for one in noted:
                    console.print(Text(f"  {one.path}: {one.sentence}", "yellow"), soft_wrap=True)
    if as_json:
        print_json(found)
    if any(one["problems"] for one in found):
        raise typer.Exit(Exit.NO)


@app.command("publish")
def publish_card(
    file: CardFile,
    reason: Annotated[str, typer.Option("--reason", help="Why, for whoever looks later.")] = "",
    by: Annotated[str | None, typer.Option("--by", help="Who publishes (default: this user and machine).")] = None,
    backdated: Annotated[
        bool, typer.Option("--backdated", help="The version holds from a past day: usage not yet billed is repriced.")
    ] = False,
    accept: Annotated[
        bool, typer.Option("--accept", help="Publish though bills change by more than the limits below.")
    ] = False,
    total_limit: Annotated[
        Decimal, typer.Option("--total-limit", parser=decimal, help="Percent by which all bills may change.")
    ] = _LIMITS.total_percent,
    account_limit: Annotated[
        Decimal, typer.Option("--account-limit", parser=decimal, help="Percent by which one account's may change.")
    ] = _LIMITS.account_percent,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Publish a rate card as the next version of its name. A version never changes, so check it first.

    What the newest version says already is not published again. Before it is published the newest closed period is
    rated by both versions; a change beyond the limits is refused without --accept.

    Example: fleetmeter rates publish prices.yaml --reason "Cheaper parallel tokens"
    """
    text = read_card_text(file)
    card = parse_card(text, source=str(file))
    settings = settings_of_stack(data_dir, setting)
    with connect_to_write(settings) as client:
        publisher = Publisher(by or this_user(), reason)
        review = None if accept else guard(client, ChangeLimits(total_limit, account_limit), tell=_note)
        publication = publish(client, card, publisher, source=text, backdated=backdated, review=review)
    published = publication.published
    if as_json:
        print_json({**_row(published), "is_new": publication.is_new})
    elif publication.is_new:
        console.print(f"Published {card.card} version {published.version}, effective from {card.effective_from}.")
    else:
        console.print(
            f"Nothing to publish: version {published.version} of {card.card} says the same, since "
            f"{published.published_at:%Y-%m-%d %H:%M} UTC."
        )


@app.command("list")
def list_cards(as_json: Json = False, data_dir: DataDir = None, setting: Given = None) -> None:
    """List the published rate cards with all their versions.

    Example: fleetmeter rates list
    """
    settings = settings_of_stack(data_dir, setting)
    with connect(settings, database=settings.clickhouse_database) as client:
        cards = published_cards(client)
    if as_json:
        print_json([_row(one) for one in cards])
        return
    if not cards:
        console.print("No rate card is published. `fleetmeter rates example` lists some to begin with.")
        return
    print_table(
        ("card", "version", "currency", "effective from", "prices", "plans", "published", "by"),
        [
            (
                *(one.card.card, one.version, one.card.currency, one.card.effective_from.isoformat()),
                *(len(one.card.prices), ", ".join(one.card.plans) or "default", one.published_at, one.published_by),
            )
            for one in cards
        ],
    )


@app.command("show")
def show_card(
    card: CardName, version: Version = None, as_json: Json = False, data_dir: DataDir = None, setting: Given = None
) -> None:
    """Show a published rate card: the file as it was published, or with --json all that it says, defaults included.

    Example: fleetmeter rates show fleet --version 2 > prices.yaml
    """
    settings = settings_of_stack(data_dir, setting)
    with connect(settings, database=settings.clickhouse_database) as client:
        published = _version(client, card, version)
        source = published_source(client, card, published.version)
    if as_json:
        print_json({**_row(published), "content": json.loads(published.card.to_json())})
    else:
        sys.stdout.write(source)


@app.command("diff")
def diff(
    card: CardName,
    old: Annotated[int | None, typer.Option("--from", min=1, help="Older version; without, the newest.")] = None,
    new: Annotated[int | None, typer.Option("--to", min=1, help="Newer version; or give a file.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="A file to compare with.", dir_okay=False)] = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Compare two versions of a rate card, or the newest with a file that is to be published. Exits 1 if they differ.

    Example: fleetmeter rates diff fleet --file prices.yaml
    """
    if (new is None) == (file is None):
        raise CommandError("Say what to compare with: either --to VERSION or --file FILE.")
    settings = settings_of_stack(data_dir, setting)
    with connect(settings, database=settings.clickhouse_database) as client:
        before = _version(client, card, old)
        after = load_card(file) if file is not None else _version(client, card, new).card
    found = differences(before.card, after)
    if as_json:
        print_json([{"path": d.path, "kind": d.kind, "old": d.old, "new": d.new} for d in found])
    elif not found:
        console.print("They say the same.")
    else:
        print_table(("path", "kind", "old", "new"), [(d.path, d.kind, _cell(d.old), _cell(d.new)) for d in found])
    if found:
        raise typer.Exit(Exit.NO)


@app.command("schema")
def schema(as_json: Json = False) -> None:
    """Print the JSON Schema of rate cards, for editors: indented, or with --json on one line.

    Example: fleetmeter rates schema > rate-card.schema.json
    """
    if as_json:
        print_json(card_schema())
    else:
        sys.stdout.write(json.dumps(card_schema(), indent=2) + "\n")


@app.command("example")
def example(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="An example; without one, all are listed.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print a rate card to begin with, one for each way in which the field prices inference; or list them.

    Example: fleetmeter rates example hybrid > prices.yaml
    """
    names = example_names()
    if name is None:
        cards = {one: parse_card(example_text(one), source=one) for one in names}
        if as_json:
            print_json([{"name": one, "description": card.description} for one, card in cards.items()])
        else:
            print_table(("name", "what it shows"), [(one, card.description) for one, card in cards.items()])
        return
    if name not in names:
        raise CommandError(f"There is no example {name!r}: choose from {', '.join(names)}.")
    text = example_text(name)
    if as_json:
        print_json(parse_card(text, source=name).model_dump(mode="json"))
    else:
        sys.stdout.write(text)


def _note(sentence: str) -> None:
    notes.print(sentence)


def _version(client: Any, card: str, version: int | None) -> PublishedCard:
    if version is not None:
        return load_version(client, card, version)
    newest = newest_card(client, card)
    if newest is None:
        raise CommandError(f"No card {card!r} is published: see `fleetmeter rates list`.")
    return newest


def _row(published: PublishedCard) -> dict[str, Any]:
    card = published.card
    return {
        "card": card.card,
        "version": published.version,
        "currency": card.currency,
        "effective_from": card.effective_from,
        "prices": list(card.prices),
        "plans": list(card.plans) or ["default"],
        "content_hash": published.content_hash,
        "published_at": published.published_at,
        "published_by": published.published_by,
    }


def _problem(problem: Any) -> dict[str, Any]:
    return {name: getattr(problem, name) for name in ("line", "column", "path", "rule", "sentence")}


def _summary(card: RateCard) -> str:
    return (
        f"{card.card} in {card.currency} from {card.effective_from}: {counted(len(card.prices), 'price')}, "
        f"{counted(len(card.meters), 'meter')}, {counted(max(1, len(card.plans)), 'plan')}."
    )


def _cell(value: Any) -> str | None:
    return None if value is None else value if isinstance(value, str) else json.dumps(value, default=date.isoformat)
