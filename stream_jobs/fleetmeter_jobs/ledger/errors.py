"""Errors of the ledger.

    LedgerError                    clickhouse
    ├── StoreUnavailableError      clickhouse  retryable: no answer, a time-out, or an error of ClickHouse that may pass
    ├── StoreRejectedError         clickhouse  ClickHouse understood and said no: trying again can't help
    ├── StoreUntrustedError        clickhouse  the server's certificate is not trusted: nothing was sent
    ├── StoreRefusedError          clickhouse  the start-up canary found that this store can't keep the promise
    ├── PositionWentBackError      clickhouse  the ledger holds less than it did (restored from a backup?)
    ├── DedupStateError            clickhouse  the committed identities are incomplete or damaged
    ├── DecisionError              input       what an operator asks for makes no sense for this position and log
    ├── DedupMovedError            clickhouse  retryable: another worker sealed or deleted what was being read
    ├── CommitAbandonedError       internal    shutdown came first; the outcome is unknown and a restart finds out
    └── BooksError                 internal    a flush's own numbers contradict each other: nothing was sent

After any of them but StoreUnavailableError a partition must not go on from memory: stop, or drop the state and resync.
"""

from __future__ import annotations

from typing import ClassVar

from fleetmeter_jobs.errors import Domain, JobError


class LedgerError(JobError):
    """Base of what can go wrong between a worker and the ledger."""

    domain: ClassVar[Domain] = "clickhouse"


class StoreUnavailableError(LedgerError):
    """No answer, or one that may be different next time. Whether a statement took effect is unknown."""

    retryable: ClassVar[bool] = True


class StoreRejectedError(LedgerError):
    """ClickHouse refused the statement for a reason that stays: a missing table, a wrong password, another schema.

    `code` is ClickHouse's error number.
    """

    mendable: ClassVar[bool] = True

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class StoreUntrustedError(LedgerError):
    """The certificate of an https ClickHouse is not trusted, or is another host's. Nothing was sent."""

    mendable: ClassVar[bool] = True

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"ClickHouse at {url} is not trusted: {reason}. Give the authority that issued its certificate with "
            "FLEETMETER_CLICKHOUSE_CA_FILE, and in FLEETMETER_CLICKHOUSE_URL the host name that stands in it."
        )


class StoreRefusedError(LedgerError):
    """The canary failed: commits on this store could be lost, split or counted twice. `check` names the failed one."""

    def __init__(self, check: str, message: str) -> None:
        super().__init__(f"canary check {check!r} failed: {message}")
        self.check = check


class PositionWentBackError(LedgerError):
    """The committed position is lower than one that was read before, or gone.

    Not mendable while the worker runs: it would take the older position for good at the next look, and somebody has to
    see first what the ledger lost. A restarted worker goes on from what the ledger has then.
    """


class DedupStateError(LedgerError):
    """The identities that the ledger gives back are not those that its markers say were accepted."""

    mendable: ClassVar[bool] = True


class DecisionError(LedgerError):
    """A decision about a position that can't be meant; nothing was changed."""

    domain: ClassVar[Domain] = "input"


class CommitAbandonedError(LedgerError):
    """The worker was told to stop while a commit was under way. It may or may not have happened: read it back."""

    domain: ClassVar[Domain] = "internal"


class BooksError(LedgerError):
    """A flush whose numbers contradict each other, found before anything was sent."""

    domain: ClassVar[Domain] = "internal"


class DedupMovedError(LedgerError):
    """The committed dedup state changed while it was read or folded: another worker has sealed what we are at."""

    retryable: ClassVar[bool] = True
