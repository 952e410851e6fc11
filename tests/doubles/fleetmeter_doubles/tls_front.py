"""TLS in front of a plain server on loopback, as a load balancer would put it there."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fleetmeter_doubles.certificates import Identity

_CHUNK_BYTES = 65_536


@contextmanager
def tls_front(identity: Identity, host: str, port: int) -> Iterator[int]:
    """Serves TLS with this identity on a port of 127.0.0.1, which it yields, and passes the bytes on to host:port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.certificate_file, identity.key_file)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, context, (host, port)), daemon=True).start()
        yield listener.getsockname()[1]


def _accept(listener: socket.socket, context: ssl.SSLContext, server: tuple[str, int]) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:  # the listener was closed: the test is over
            return
        threading.Thread(target=_serve, args=(client, context, server), daemon=True).start()


def _serve(plain: socket.socket, context: ssl.SSLContext, server: tuple[str, int]) -> None:
    # A client that does not trust us ends the handshake, and one that leaves ends the connection: both are its right.
    with (
        contextlib.suppress(OSError),
        context.wrap_socket(plain, server_side=True) as client,
        socket.create_connection(server) as behind,
    ):
        back = threading.Thread(target=_pump, args=(behind, client), daemon=True)
        back.start()
        _pump(client, behind)
        back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK_BYTES):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)
