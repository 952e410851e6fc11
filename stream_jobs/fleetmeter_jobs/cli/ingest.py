"""`fleetmeter ingest`: events over HTTP into Kafka, for everything that cannot speak Kafka."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from fleetmeter_producers.ingest.delivery import Delivery
from fleetmeter_producers.ingest.judging import NewJudge, PlainJudge
from fleetmeter_producers.ingest.openapi import openapi
from fleetmeter_producers.ingest.service import IngestService
from fleetmeter_producers.ingest.serving import Address, serve
from fleetmeter_producers.ingest.settings import IngestSettings
from fleetmeter_producers.ingest.token_book import Book, OpenBook, TokenBook

from fleetmeter_jobs.cli import ingest_token
from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.exits import CommandError, Exit
from fleetmeter_jobs.cli.https import Certificate, ClientCa, Key, KeyPasswordFile, https_context
from fleetmeter_jobs.cli.ingest_token import TokensPath, tokens_to_serve_by
from fleetmeter_jobs.cli.kafka import largest_message_bytes, require_topic
from fleetmeter_jobs.cli.options import DataDir, Given, Json, settings_of_stack
from fleetmeter_jobs.cli.output import notes, print_json
from fleetmeter_jobs.counting_core import DAY_US, SECOND_US
from fleetmeter_jobs.kafka_access import is_loopback
from fleetmeter_jobs.logs import configure_logs
from fleetmeter_jobs.ready_file import write_ready_file
from fleetmeter_jobs.settings import Settings

app = command_app()
app.add_typer(ingest_token.app, name="token")

_DEFAULT_PORT: Final = 8090

Host = Annotated[str, typer.Option("--host", help="Address to listen on; 0.0.0.0 for all.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65_535, help="Port to listen on; 0 takes a free one.")]
Open = Annotated[
    bool,
    typer.Option(
        "--open", help="Take events of anybody, without a token: for a try, on this machine's own address only."
    ),
]
Limit = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        "-l",
        metavar="NAME=VALUE",
        help="A limit of ingest, such as -l body_limit_bytes=1000000; docs/producers/http.md lists them.",
        show_default=False,
    ),
]
ReadyFile = Annotated[
    Path | None,
    typer.Option("--ready-file", help="Written when it listens, with its address.", show_default=False),
]


@app.callback(invoke_without_command=True)
def ingest(
    context: typer.Context,
    host: Host = "127.0.0.1",
    port: Port = _DEFAULT_PORT,
    tokens: TokensPath = None,
    open_to_all: Open = False,
    certificate: Certificate = None,
    key: Key = None,
    key_password_file: KeyPasswordFile = None,
    client_ca: ClientCa = None,
    limit: Limit = None,
    ready_file: ReadyFile = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Take events over HTTP, from whatever cannot speak Kafka; until SIGTERM or Ctrl-C.

    They are CloudEvents; the answer is 202 when Kafka has them. Who may send what is said by tokens: `fleetmeter ingest
    token new`. --json writes log lines as JSON. /openapi.json describes the interface; /readyz and /metrics are for
    operators.

    Example: fleetmeter ingest --host 0.0.0.0 --tokens /etc/fleetmeter/tokens.json
    """
    if context.invoked_subcommand is not None:
        return
    settings = settings_of_stack(data_dir, [*(setting or []), *(["log_format=json"] if as_json else [])])
    limits = limits_of(limit, settings)
    tls = https_context(certificate, key, key_password_file, client_ca)
    book = _book(tokens, limits, host, open_to_all=open_to_all)
    configure_logs(settings)
    require_topic(settings)
    access = settings.kafka_access
    producer = limits.client(access.librdkafka_security()).librdkafka(access.bootstrap)
    refuse_too_large(settings.topic, largest_message_bytes(settings), producer["message.max.bytes"])
    delivery = Delivery(settings.topic, producer)
    service = IngestService(limits, book, delivery, judges_of(settings))

    def listening(url: str) -> None:
        logging.getLogger(__name__).info("listening on %s", url)
        if ready_file is not None:
            write_ready_file(ready_file, url=url)

    asyncio.run(serve(service, delivery, limits, Address(host, port, tls), listening))


@app.command("openapi")
def print_openapi(as_json: Json = False) -> None:  # noqa: ARG001  (it is JSON anyway)
    """Print the OpenAPI document that /openapi.json serves.

    Example: fleetmeter ingest openapi > openapi.json
    """
    print_json(openapi())


def refuse_too_large(topic: str, takes_bytes: int | None, sends_bytes: int) -> None:
    """Raises CommandError if Kafka would refuse for ever what we take: senders would be told to try again for ever."""
    if takes_bytes is not None and takes_bytes < sends_bytes:
        raise CommandError(
            f"Topic {topic} takes at most {takes_bytes:,} bytes at once (max.message.bytes), and ingest would send up "
            f"to {sends_bytes:,}. Raise it with `kafka-configs.sh --alter --entity-type topics --entity-name {topic} "
            f"--add-config max.message.bytes={sends_bytes}`; or, above 1,000,000, take less: -l event_limit_bytes=... "
            "-l record_bytes=...",
            Exit.KAFKA,
        )


def limits_of(given: list[str] | None, settings: Settings) -> IngestSettings:
    """Ingest's own settings out of options; raises CommandError or ClientSettingsError."""
    options: dict[str, Any] = {"event_limit_bytes": settings.event_limit_bytes}
    for pair in given or []:
        name, equals, value = pair.partition("=")
        if not equals:
            raise CommandError(f"--limit {pair!r} is not NAME=VALUE, such as body_limit_bytes=1000000.")
        options[name.strip()] = value
    return IngestSettings.of(**options)


def _book(tokens: Path | None, limits: IngestSettings, host: str, *, open_to_all: bool) -> Book:
    if open_to_all:
        if tokens is not None:
            raise CommandError("--open takes events without a token, and --tokens wants one: give one of the two.")
        if not is_loopback(host):
            raise CommandError(f"--open is for this machine's own address, not for {host}: give --tokens there.")
        return OpenBook()
    if tokens is None:
        raise CommandError(
            "Who may send? Make a token with `fleetmeter ingest token new`, and give its file: --tokens FILE. "
            "For a try on this machine: --open."
        )
    return TokenBook(tokens_to_serve_by(tokens), events_per_s=limits.events_per_s, burst_s=limits.burst_s)


def judges_of(settings: Settings) -> NewJudge:
    try:
        from fleetmeter_jobs.cli.native_judge import NativeJudge  # noqa: PLC0415  (an install may be without the core)
    except ImportError as error:
        notes.print(f"Events are judged by pydantic, some fifty times slower: {error}")
        return lambda: plain_judge(settings)
    return lambda: NativeJudge(settings, plain_judge(settings))


def plain_judge(settings: Settings) -> PlainJudge:
    """The judge that needs no native core."""
    return PlainJudge(
        horizon_us=settings.horizon_days * DAY_US,
        future_us=settings.future_limit_s * SECOND_US,
        event_limit_bytes=settings.event_limit_bytes,
    )
