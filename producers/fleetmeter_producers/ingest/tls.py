"""The server's certificate, out of PEM files."""

from __future__ import annotations

import ssl
from pathlib import Path

from fleetmeter_producers.errors import ClientSettingsError


def server_context(certificate: Path, key: Path | None, key_password: str, client_ca: Path | None) -> ssl.SSLContext:
    """A context that shows `certificate` (its key in `key`, or in the same file), TLS 1.2 or newer.

    With `client_ca` only clients with a certificate of these authorities get in, and need a token on top. Raises
    `ClientSettingsError` with the file, what is wrong with it and what to do.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in filter(None, (certificate, key, client_ca)):
        _require_readable(path)
    try:
        # Without a password OpenSSL would ask for one on the terminal. An empty one just does not fit.
        context.load_cert_chain(certificate, key or certificate, password=lambda: key_password)
    except ssl.SSLError as error:
        raise ClientSettingsError(
            f"the certificate {certificate} and its key in {key or certificate} can't be used ({_words(error)}): both "
            "have to be in PEM form and belong together, and the password has to be the key's"
        ) from error
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except ssl.SSLError as error:
            raise ClientSettingsError(f"{client_ca} holds no certificate in PEM form ({_words(error)})") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _require_readable(path: Path) -> None:
    try:
        with path.open("rb"):
            return
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ClientSettingsError(f"{path} can't be read ({why}); give the path of a PEM file") from error


def _words(error: ssl.SSLError) -> str:
    return error.reason.replace("_", " ").lower() if error.reason else str(error)
