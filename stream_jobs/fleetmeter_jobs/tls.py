"""Certificates and keys out of the settings' files: read and checked once, with messages that name the setting."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What one side of a TLS connection is given. All files are PEM.

    `prefix` begins the names of their settings (`kafka` of `kafka_ca_file`). Without `ca_file` the system's authorities
    are trusted. `key_file` may be left out if the key stands in `certificate_file`.
    """

    prefix: str
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    key_password: SecretStr = field(default_factory=lambda: SecretStr(""))

    @property
    def given(self) -> list[str]:
        """The names of the settings that were given."""
        values = {
            "ca_file": self.ca_file,
            "certificate_file": self.certificate_file,
            "key_file": self.key_file,
            "key_password": self.key_password.get_secret_value(),
        }
        return [f"{self.prefix}_{name}" for name, value in values.items() if value]

    def context(self) -> ssl.SSLContext:
        """A client's TLS context that trusts and presents what the files say, and compares host names.

        Raises ValueError with the setting, the file, what is wrong with it and what to do.
        """
        if self.certificate_file is None and (self.key_file or self.key_password.get_secret_value()):
            given = [name for name in self.given if "_key_" in name]
            raise ValueError(f"{given[0]} is given without {self.prefix}_certificate_file: set that, too")
        context = ssl.create_default_context() if self.ca_file is None else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.ca_file is not None:
            _load(f"{self.prefix}_ca_file", self.ca_file, context.load_verify_locations, "certificate in PEM form")
        if self.certificate_file is not None:
            self._present(context, self.certificate_file)
        return context

    def _present(self, context: ssl.SSLContext, certificate: Path) -> None:
        # Without a password OpenSSL would ask for one on the terminal. An empty one just does not fit.
        password = self.key_password.get_secret_value()
        key = self.key_file or certificate
        _readable(f"{self.prefix}_certificate_file", certificate)
        _readable(f"{self.prefix}_key_file", key)
        try:
            context.load_cert_chain(certificate, key, password=lambda: password)
        except ssl.SSLError as error:
            raise ValueError(
                f"{self.prefix}_certificate_file {certificate} and its key in {key} can't be used ({_words(error)}): "
                f"both have to be in PEM form and belong together, and {self.prefix}_key_password has to be the key's"
            ) from error


def _load(setting: str, path: Path, load: Callable[[Path], None], wanted: str) -> None:
    _readable(setting, path)
    try:
        load(path)
    except ssl.SSLError as error:
        raise ValueError(f"{setting}: {path} holds no {wanted} ({_words(error)})") from error


def _readable(setting: str, path: Path) -> None:
    try:
        with path.open("rb"):
            return
    except OSError as error:
        why = (error.strerror or "it can't be read").lower()
        raise ValueError(f"{setting}: {path} can't be read ({why}); give the path of a PEM file") from error


def _words(error: ssl.SSLError) -> str:
    return error.reason.replace("_", " ").lower() if error.reason else str(error)
