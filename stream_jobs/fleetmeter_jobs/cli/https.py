"""The options with which commands that listen serve https, and what follows from them."""

from __future__ import annotations

from pathlib import Path
from ssl import SSLContext
from typing import Annotated

import typer

from fleetmeter_jobs.cli.exits import CommandError

Certificate = Annotated[
    Path | None,
    typer.Option("--tls-certificate", help="PEM file with the server's certificate: serves https.", show_default=False),
]
Key = Annotated[
    Path | None,
    typer.Option("--tls-key", help="PEM file with its key, unless that stands in the same file.", show_default=False),
]
KeyPasswordFile = Annotated[
    Path | None,
    typer.Option("--tls-key-password-file", help="File with the key's password, if it has one.", show_default=False),
]
ClientCa = Annotated[
    Path | None,
    typer.Option(
        "--tls-client-ca",
        help="PEM file with authorities: only clients with a certificate of theirs get in.",
        show_default=False,
    ),
]


def https_context(
    certificate: Path | None, key: Path | None, password: Path | None, client_ca: Path | None
) -> SSLContext | None:
    """What the options ask for; None without a certificate. Raises CommandError, ClientSettingsError, OSError."""
    from fleetmeter_producers.ingest.tls import server_context  # noqa: PLC0415  (only servers need it)

    if certificate is None:
        for option, given in (("key", key), ("key-password-file", password), ("client-ca", client_ca)):
            if given is not None:
                raise CommandError(f"--tls-{option} is given without --tls-certificate: nothing would be encrypted.")
        return None
    return server_context(certificate, key, password.read_text().rstrip("\n") if password else "", client_ca)
