"""https: the server's certificate, and clients' where they are asked for one."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from fleetmeter_doubles.certificates import Authority
from fleetmeter_doubles.ingest_events import make_event, text_of
from fleetmeter_doubles.ingest_server import ingest_server
from fleetmeter_producers.errors import ClientSettingsError
from fleetmeter_producers.ingest.tls import server_context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


def test_https_with_clients_certificates(authority: Authority) -> None:
    server = authority.issue("server", "127.0.0.1", key_password="open sesame")
    mine = authority.issue("client", "client")
    tls = server_context(server.certificate_file, server.key_file, "open sesame", authority.ca_file)
    known = ssl.create_default_context(cafile=str(authority.ca_file))
    known.load_cert_chain(mine.certificate_file, mine.key_file)
    with ingest_server(tls=tls, client_tls=known) as running:
        assert running.url.startswith("https://")
        assert running.post(text_of(make_event())).status == 202
    nobody = ssl.create_default_context(cafile=str(authority.ca_file))
    with (
        ingest_server(tls=tls, client_tls=nobody) as running,
        pytest.raises(OSError, match=r"(?i)certificate|reset|EOF|closed"),
    ):
        running.post(text_of(make_event()))


def test_a_key_may_stand_in_its_certificate_s_file(authority: Authority) -> None:
    server = authority.issue("joined", "127.0.0.1")
    known = ssl.create_default_context(cafile=str(authority.ca_file))
    with ingest_server(tls=server_context(server.store_file, None, "", None), client_tls=known) as running:
        assert running.get("/healthz").status == 200


def test_files_that_cannot_be_used_are_named(authority: Authority, tmp_path: Path) -> None:
    one, other = authority.issue("one", "127.0.0.1", key_password="x"), authority.issue("other", "127.0.0.1")
    empty = tmp_path / "empty.pem"
    empty.touch()
    for given, words in (
        ((tmp_path / "none.pem", None, "", None), "none.pem can't be read"),
        ((one.certificate_file, one.key_file, "", None), "password"),
        ((one.certificate_file, other.key_file, "", None), "belong together"),
        ((other.certificate_file, other.key_file, "", empty), "empty.pem holds no certificate"),
    ):
        with pytest.raises(ClientSettingsError, match=words):
            server_context(*given)
