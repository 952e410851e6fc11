"""What a running Kafka or ClickHouse looks like to the commands and the tests, wherever it came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

Source = Literal["given", "docker", "local"]
"""Where an engine comes from: an address given in the environment, a container, or a process on this machine."""


@dataclass(frozen=True, slots=True)
class ClickHouseUser:
    """A user of the embedded ClickHouse. `readonly` users can query and change nothing."""

    name: str
    password: str = ""
    readonly: bool = False


DEFAULT_USERS = (ClickHouseUser("default"), ClickHouseUser("reader", readonly=True))
"""`default` without a password, as on a fresh server (it listens on loopback only), and `reader`, which can't write."""


class Lifecycle(Protocol):
    """How the owner of an engine ends and revives it. Given engines have none: they are not ours."""

    @property
    def pid(self) -> int | None: ...
    @property
    def log_path(self) -> Path | None: ...
    def is_alive(self) -> bool: ...
    def stop(self, timeout_s: float) -> None: ...
    def kill(self) -> None: ...
    def restart(self) -> None: ...


class RunningEngine:
    """An engine that answers. A context manager: leaving it stops what we started, and leaves alone what was given."""

    def __init__(self, source: Source, lifecycle: Lifecycle | None) -> None:
        self.source: Source = source
        self._lifecycle = lifecycle

    @property
    def pid(self) -> int | None:
        """The engine's process on this machine; None for one that was given or runs in a container."""
        return None if self._lifecycle is None else self._lifecycle.pid

    @property
    def log_path(self) -> Path | None:
        """Where the engine logs, if that is a file on this machine."""
        return None if self._lifecycle is None else self._lifecycle.log_path

    def is_alive(self) -> bool:
        """True while the process or container runs; always True for a given address (ask it to know)."""
        return self._lifecycle is None or self._lifecycle.is_alive()

    def stop(self, timeout_s: float = 30.0) -> None:
        """Stops it cleanly, and hard after `timeout_s`. Its data stays. Twice is once; a given engine is left alone."""
        if self._lifecycle is not None:
            self._lifecycle.stop(timeout_s)

    def kill(self) -> None:
        """kill -9, as a crash would: for tests. Raises RuntimeError on a given engine, which is not ours to kill."""
        self._own("kill").kill()

    def restart(self) -> None:
        """Starts it again on the same data and port, after `stop` or `kill`; returns when it answers."""
        self._own("restart").restart()

    def _own(self, verb: str) -> Lifecycle:
        if self._lifecycle is None:
            raise RuntimeError(f"this engine was given by address: it is not ours to {verb}")
        return self._lifecycle

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class RunningKafka(RunningEngine):
    """A broker that answers metadata requests at `bootstrap` ("host:port[,host:port...]")."""

    def __init__(self, bootstrap: str, source: Source, lifecycle: Lifecycle | None = None) -> None:
        super().__init__(source, lifecycle)
        self.bootstrap = bootstrap


class RunningClickHouse(RunningEngine):
    """A ClickHouse that answers its HTTP protocol at `url`, as the user `user` with `password`."""

    def __init__(
        self,
        host: str,
        port: int,
        user: str,
        password: str,
        source: Source,
        lifecycle: Lifecycle | None = None,
        *,
        secure: bool = False,
    ) -> None:
        super().__init__(source, lifecycle)
        self.host = host
        self.port = port
        self.user = user
        self.password = password
        self.secure = secure

    @property
    def url(self) -> str:
        """`http://host:port`, without credentials."""
        return f"{'https' if self.secure else 'http'}://{self.host}:{self.port}"
