"""Loopback ports.

Free ports are taken from below the range that systems hand out for outgoing connections (32768 on Linux, 49152
elsewhere), so that nobody's connection sits on a port while its engine is being restarted.
"""

from __future__ import annotations

import random
import socket

LOOPBACK = "127.0.0.1"
_FIRST, _LAST = 20_000, 31_999
_ATTEMPTS = 200

# Not for secrets: ports have to differ between runs, and between processes that start at the same moment.
_random = random.SystemRandom()


def bind_loopback(port: int | None = None) -> socket.socket:
    """A listening-ready TCP socket on 127.0.0.1, at `port` or a free one. Raises OSError if it is taken."""
    if port is not None:
        return _bound(port)
    for _ in range(_ATTEMPTS):
        try:
            return _bound(_random.randint(_FIRST, _LAST))
        except OSError:  # taken: the next one
            continue
    raise OSError(f"no free port between {_FIRST} and {_LAST} in {_ATTEMPTS} attempts")


def free_port() -> int:
    """A port that is free now, for a process that has to be told its port. Another may take it before: be ready."""
    with bind_loopback() as sock:
        port: int = sock.getsockname()[1]
        return port


def _bound(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # A server's usual option: without it a port stays unusable for a minute after a crash.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((LOOPBACK, port))
        sock.listen(128)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"port {port} of {LOOPBACK} cannot be used: {error.strerror}") from error
    return sock
