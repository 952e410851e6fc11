"""What can go wrong when a local engine is started, found or stopped.

    LocalError                      domain, retryable
    |- PrerequisiteError            a program or package is not there; the message says how to get it
    |- EngineStartError             the process ended or did not answer in time; carries what the log says
    |- EngineDiedError              the engine ended by itself; carries what the log says
    |- EngineStopError              the process outlived a stop and a kill
    |- EngineUnreachableError       a given address does not answer
    `- AlreadyRunningError          another process already serves this data folder

`domain` is one of input, kafka, clickhouse, internal; `retryable` tells whether the same call can succeed later
with nothing changed by a person.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Domain = Literal["input", "kafka", "clickhouse", "internal"]


class LocalError(Exception):
    """Base of every error that this package raises on purpose."""

    domain: Domain = "internal"
    retryable: bool = False

    def __init__(self, message: str, *, domain: Domain | None = None, retryable: bool | None = None) -> None:
        super().__init__(message)
        if domain is not None:
            self.domain = domain
        if retryable is not None:
            self.retryable = retryable


class PrerequisiteError(LocalError):
    """A program or package that the engine needs is absent or too old."""

    domain: Domain = "input"


class EngineStartError(LocalError):
    """The engine's process ended, or did not answer in time."""

    def __init__(
        self, name: str, reason: str, advice: str, *, log_path: Path | None, log_tail: str = "", domain: Domain
    ) -> None:
        lines = [f"{name} did not start: {reason}.", advice]
        if log_path is not None:
            lines.append(f"Log: {log_path}")
        if log_tail:
            lines.append("It says:")
            lines.extend(f"    {line}" for line in log_tail.splitlines())
        super().__init__("\n".join(lines), domain=domain, retryable=False)
        self.reason = reason
        self.log_path = log_path
        self.log_tail = log_tail


class EngineDiedError(LocalError):
    """An engine that nobody stopped has ended."""

    retryable = True

    def __init__(self, log_path: Path | None, log_tail: str, *, domain: Domain) -> None:
        lines = ["The engine ended by itself. Start it again; if it ends again, its log says why."]
        if log_path is not None:
            lines.append(f"Log: {log_path}")
        lines.extend(f"    {line}" for line in log_tail.splitlines())
        super().__init__("\n".join(lines), domain=domain)
        self.log_path = log_path


class EngineStopError(LocalError):
    """The process is still there after a polite stop and a kill."""

    retryable = True


class EngineUnreachableError(LocalError):
    """A given address (FLEETMETER_KAFKA_BOOTSTRAP, FLEETMETER_CLICKHOUSE_URL) does not answer."""

    retryable = True


class AlreadyRunningError(LocalError):
    """Another process already serves this data folder; its address is in the message."""

    domain: Domain = "input"
