"""Exit codes of the commands, and the one sentence that a person reads when a command cannot do its work.

0    done, and what was asked holds
1    done, and the answer is no: not reconciled, not running, a check failed
2    the input is wrong: an option, a setting, a file, a name
3    something has to be installed or started first
4    Kafka does not answer, or refuses
5    ClickHouse does not answer, or refuses
70   a defect in fleetmeter itself: the stack trace is shown
130  interrupted by Ctrl-C
"""

from __future__ import annotations

import errno
from enum import IntEnum
from typing import Any, Final

EXTRA_OF_MODULE: Final = {
    "chdb": "local",
    "aiohttp": "ingest",
    "backports": "ingest",
    "testcontainers": "dev",
    "yaml": "billing",
    "jinja2": "billing",
    "tzdata": "billing",
}
"""The extras of modules that are not in `jobs`, for the sentence about what to install."""


class Exit(IntEnum):
    """What the exit code says; see the module's table."""

    OK = 0
    NO = 1
    INPUT = 2
    MISSING = 3
    KAFKA = 4
    CLICKHOUSE = 5
    DEFECT = 70
    INTERRUPTED = 130


class CommandError(Exception):
    """A command cannot do what it was asked. The message is a sentence that says what to do."""

    def __init__(self, message: str, exit_code: Exit = Exit.INPUT) -> None:
        super().__init__(message)
        self.exit_code = exit_code


_DISK: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_EXIT_OF_DOMAIN: Final = {"input": Exit.INPUT, "kafka": Exit.KAFKA, "clickhouse": Exit.CLICKHOUSE}


def explain_failure(error: Exception) -> tuple[Exit, str] | None:
    """The exit code and sentence for an error that people can act on; None for a defect, whose trace must be seen.

    The rooms' own errors say where to look by their `domain`.
    """
    if isinstance(error, CommandError):
        return error.exit_code, str(error)
    if isinstance(error, ModuleNotFoundError) and error.name:
        module = error.name.partition(".")[0]
        if module.startswith("fleetmeter"):
            return None
        extra = EXTRA_OF_MODULE.get(module, "jobs")
        return Exit.MISSING, f"This needs the package {module}: pip install 'fleetmeter[{extra}]'"
    if isinstance(error, OSError) and error.filename:
        return Exit.INPUT, f"{error.filename}: {(error.strerror or 'cannot be read').lower()}."
    if isinstance(error, OSError) and error.errno in _DISK:
        return (
            Exit.INPUT,
            f"Can't write: {(error.strerror or 'no room').lower()}. Make room, or write elsewhere.",
        )
    if type(error).__name__ == "PrerequisiteError":
        return Exit.MISSING, str(error)
    domain: Any = getattr(error, "domain", None)
    answered = domain == "clickhouse" and bool(getattr(error, "code", 0))
    if domain in _EXIT_OF_DOMAIN and not answered:
        return _EXIT_OF_DOMAIN[domain], str(error)
    library = type(error).__module__.partition(".")[0]
    # What breaks off in the middle of an answer stays urllib3's.
    if answered or library in {"clickhouse_connect", "urllib3"}:
        from fleetmeter_sql.refusals import explain_refusal  # noqa: PLC0415  (loads clickhouse_connect, as it did)

        return Exit.CLICKHOUSE, explain_refusal(error)
    if type(error).__name__ == "KafkaException" or library == "confluent_kafka":
        return Exit.KAFKA, f"Kafka refused or did not answer: {error}"
    return None
