"""`fleetmeter ingest token`: who may send events over HTTP, of which accounts and sources."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from fleetmeter_producers.ingest.tokens import Token, TokenFile

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.exits import CommandError
from fleetmeter_jobs.cli.options import Json
from fleetmeter_jobs.cli.output import console, print_json, print_table

app = command_app(help="Make, list and revoke the tokens with which events may be sent.")

TokensPath = Annotated[
    Path | None,
    typer.Option(
        "--tokens", help="File of the tokens' hashes. A running server follows its changes.", show_default=False
    ),
]
_Tokens = Annotated[
    Path, typer.Option("--tokens", help="File of the tokens' hashes; made if it is not there.", show_default=False)
]
_Pattern = "with * for any text; may be given more than once."


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Whom it is for, for people who read the list.")],
    tokens: _Tokens,
    account: Annotated[list[str], typer.Option("--account", help=f"Accounts whose events may be sent, {_Pattern}")],
    source: Annotated[list[str], typer.Option("--source", help=f"Sources whose events may be sent, {_Pattern}")],
    days: Annotated[
        int | None, typer.Option("--days", min=1, help="It expires after so many days.", show_default="never")
    ] = None,
    events_per_s: Annotated[
        float | None, typer.Option("--events-per-s", help="Its own rate.", show_default="the server's")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a token and print it: this once, since only its hash is kept.

    Sources are what keeps events apart: whoever may send as a source can use up its ids, so that the true ones count as
    duplicates. Give each customer sources of their own.

    Example: fleetmeter ingest token new "Acme's gateway" --tokens tokens.json --account 'acme' --source 'urn:acme:*'
    """
    expires = datetime.now(UTC) + timedelta(days=days) if days is not None else None
    token, text = TokenFile(tokens).add(
        name, accounts=account, sources=source, expires=expires, events_per_s=events_per_s
    )
    if as_json:
        print_json({**_row(token), "token": text})
        return
    console.print(text, soft_wrap=True)
    typer.echo(f"Keep it: it is shown this once. Revoke it with: fleetmeter ingest token revoke {token.id}", err=True)


@app.command("list")
def list_tokens(tokens: _Tokens, as_json: Json = False) -> None:
    """List the tokens of a file, without secrets.

    Example: fleetmeter ingest token list --tokens tokens.json
    """
    rows = [_row(token) for token in TokenFile(tokens).tokens()]
    if as_json:
        print_json({"tokens": rows})
        return
    columns = ("id", "name", "state", "accounts", "sources", "created", "expires", "events_per_s")
    print_table(
        columns, [[", ".join(v) if isinstance(v := row[name], list) else v for name in columns] for row in rows]
    )


@app.command("revoke")
def revoke(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")],
    tokens: _Tokens,
    as_json: Json = False,
) -> None:
    """Revoke a token. Servers that run stop taking it within a second or two.

    Example: fleetmeter ingest token revoke 3f9a1c0b7d2e --tokens tokens.json
    """
    token = TokenFile(tokens).revoke(identifier)
    if as_json:
        print_json(_row(token))
        return
    console.print(f"{token.id} ({token.name}) is revoked.")


def tokens_to_serve_by(path: Path) -> TokenFile:
    """The file that a server follows. Raises CommandError if anybody on this machine could add a token to it."""
    if path.is_file() and path.stat().st_mode & stat.S_IWOTH:
        raise CommandError(f"{path} may be written by anybody on this machine, who could add tokens: chmod o-w {path}")
    return TokenFile(path)


def _row(token: Token) -> dict[str, object]:
    now = datetime.now(UTC)
    state = "live" if token.is_live(now) else "revoked" if token.revoked else "expired"
    kept = token.model_dump(include={"id", "name", "created", "expires", "revoked", "events_per_s"}, mode="python")
    return {**kept, "state": state, "accounts": list(token.accounts), "sources": list(token.sources)}
