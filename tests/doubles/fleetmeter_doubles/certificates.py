"""A certificate authority of the test's own, and the PEM files that brokers, servers and clients want from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization

_PKCS8 = serialization.PrivateFormat.PKCS8
_PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Identity:
    """A certificate with its key: in two files as clients want them, and in one as Java's PEM key stores do."""

    certificate_file: Path
    key_file: Path
    store_file: Path


class Authority:
    """Issues identities into a folder. `ca_file` is what those who shall trust them are given."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.ca_file = folder / "ca.pem"
        self._authority = trustme.CA()
        self._authority.cert_pem.write_to_path(str(self.ca_file))

    def issue(self, name: str, *hosts: str, key_password: str | None = None) -> Identity:
        """An identity for these host names and addresses; with a password, its key file is encrypted."""
        issued = self._authority.issue_cert(*hosts, common_name=name)
        # Java reads keys in PKCS #8 only.
        key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), password=None)
        plain = key.private_bytes(_PEM, _PKCS8, serialization.NoEncryption())
        made = Identity(*(self.folder / f"{name}-{kind}.pem" for kind in ("certificate", "key", "store")))
        certificates = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        made.certificate_file.write_bytes(certificates)
        made.key_file.write_bytes(
            plain
            if key_password is None
            else key.private_bytes(_PEM, _PKCS8, serialization.BestAvailableEncryption(key_password.encode()))
        )
        made.store_file.write_bytes(plain + certificates)
        return made
