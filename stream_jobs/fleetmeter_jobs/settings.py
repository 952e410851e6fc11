"""The one settings model of fleetmeter's jobs and commands.

Every value comes from an environment variable `FLEETMETER_<NAME>` or from an option of the command, has its unit in its
name, and is checked before anything
starts. An unknown `FLEETMETER_*` variable is an error with the nearest known name: a misspelt setting must not silently
mean the default.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from fleetmeter_jobs.access_settings import AccessSettings
from fleetmeter_jobs.errors import SettingsError

ENV_PREFIX = "FLEETMETER_"
_OF_PRODUCERS = frozenset({f"{ENV_PREFIX}SPOOL_DIR"})
"""What clients read themselves. It may be set where workers and commands run, too; `fleetmeter spool` follows it."""

_OF_KUBERNETES = re.compile(
    r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)=.*"
    r"|\w+_PORT=(tcp|udp|sctp)://.*"
)
"""NAME=VALUE of what Kubernetes gives pods for each Service: of one called fleetmeter-kafka they look like settings."""
_TOPIC_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_SQL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_KIB = 1024
_MIB = 1024 * _KIB


class _EnvironmentSource(EnvSettingsSource):
    """FLEETMETER_* variables; unlike pydantic-settings' own source it does not overlook those that no setting has."""

    def __call__(self) -> dict[str, Any]:
        known = {f"{ENV_PREFIX}{name.upper()}" for name in self.settings_cls.model_fields}
        given = {
            name.upper()
            for name, value in os.environ.items()
            if name.upper().startswith(ENV_PREFIX) and not _OF_KUBERNETES.fullmatch(f"{name}={value}")
        }
        if unknown := sorted(given - known - _OF_PRODUCERS):
            raise SettingsError("\n".join(_unknown_variable(name, known) for name in unknown))
        return super().__call__()


class Settings(AccessSettings):
    """All settings, frozen. `model_fields_set` tells which ones were given; the others have their defaults."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, extra="forbid", frozen=True, validate_default=True, env_ignore_empty=True
    )

    # Topic and consumer
    topic: str = Field("fleetmeter.usage", description="Topic with the usage events.")
    topic_partitions: int = Field(
        4, ge=1, le=10_000, description="Partitions of the topic when `fleetmeter up` creates it."
    )
    consumer_group: str = Field(
        "fleetmeter", min_length=1, max_length=249, description="Kafka consumer group of the workers."
    )
    group_instance: str | None = Field(
        None,
        min_length=1,
        max_length=249,
        pattern=r"^[a-zA-Z0-9._-]+$",
        description=(
            "This worker's own name in the group, such as a pod's. Started again under it within session_timeout_s, a "
            "worker that was killed gets its partitions back at once, and the others don't pause. No two workers that "
            "run may have the same."
        ),
    )
    session_timeout_s: float = Field(
        10.0,
        ge=1,
        le=1800,
        description=(
            "A worker that Kafka has not heard from for so long loses its partitions to the others. Brokers refuse "
            "less than their group.min.session.timeout.ms (6 s unless it was lowered)."
        ),
    )
    heartbeat_interval_s: float = Field(
        0.5,
        ge=0.05,
        le=600,
        description="A worker asks so often whether partitions move; the others wait for it so long when they do.",
    )
    fetch_limit_bytes: int = Field(
        8 * _MIB,
        ge=64 * _KIB,
        le=512 * _MIB,
        description="Most (compressed) bytes that one fetch asks of one partition: bounds what a worker buffers.",
    )

    inbox_limit_bytes: int = Field(
        64 * _MIB,
        ge=_MIB,
        le=8192 * _MIB,
        description="A partition with so many fetched bytes waiting to be counted is not fetched from until half are.",
    )

    # ClickHouse
    clickhouse_database: str = Field("fleetmeter", description="ClickHouse database that holds the tables.")
    clickhouse_fsync: bool = Field(
        True,
        description=(
            "Inserts wait until the disk has them, so that a power failure loses nothing; `fleetmeter migrate` makes "
            "the tables so. Switch it off only where the disk's cache survives a power failure, or on replicas that "
            "don't lose power together."
        ),
    )
    clickhouse_replicated_path: str = Field(
        "",
        description=(
            "Path of a table in ClickHouse Keeper, such as /clickhouse/tables/{shard}/{database}/{table}: `fleetmeter "
            "migrate` makes replicated tables. Empty: tables of one server."
        ),
    )
    clickhouse_cluster: str = Field(
        "", description="Cluster on whose servers `fleetmeter migrate` makes and changes the tables (ON CLUSTER)."
    )
    insert_timeout_s: float = Field(
        60.0,
        ge=1,
        le=3600,
        description="Longest time one insert may take before it is tried again (with the same token).",
    )

    # What counts
    horizon_days: int = Field(
        35,
        ge=1,
        le=400,
        description=(
            "Events older than this (against the broker's append time) go to quarantine; dedup remembers as long."
        ),
    )
    future_limit_s: int = Field(
        300,
        ge=0,
        le=86_400,
        description="Events further in the future than this (against the append time) go to quarantine.",
    )
    record_limit_bytes: int = Field(
        8 * _MIB, ge=_KIB, le=512 * _MIB, description="Larger Kafka records go to quarantine unparsed."
    )
    event_limit_bytes: int = Field(256 * _KIB, ge=_KIB, le=64 * _MIB, description="Larger events go to quarantine.")
    label_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        ("app", "environment", "experiment", "feature", "team"),
        description="Label keys that are kept, separated by commas; others are dropped and counted.",
    )
    label_sets_per_account_hour: int = Field(
        1000,
        ge=1,
        le=1_000_000,
        description="Distinct label sets of an account in an hour; further ones are counted under `__other__`.",
    )
    quarantine_payload_limit_bytes: int = Field(
        65_536, ge=0, le=64 * _MIB, description="Bytes of a rejected payload that quarantine keeps."
    )

    # What is remembered of counted events
    dedup_chunk_ids: int = Field(
        4_000_000,
        ge=1_000,
        le=100_000_000,
        description=(
            "Foreign ids (those that no client of ours gave) that a partition gathers in memory, at 24 bytes each, "
            "before they move to ClickHouse and leave a filter of about 2.3 bytes each; at the latest after a day."
        ),
    )
    dedup_chunk_limit_bytes: int = Field(
        512 * _MIB,
        ge=_MIB,
        le=64 * 1024 * _MIB,
        description="Bytes of ids in the ledger with which they are folded too: bounds what a start has to read.",
    )
    dedup_filter_limit_bytes: int = Field(
        256 * _MIB,
        ge=0,
        le=64 * 1024 * _MIB,
        description=(
            "Memory of a partition's filters. Beyond it the oldest ids are looked up by the hour of the event: "
            "a resend with another time is then counted again."
        ),
    )
    dedup_exact_limit_bytes: int = Field(
        1024 * _MIB,
        ge=_MIB,
        le=64 * 1024 * _MIB,
        description="Memory of ids that wait to move to ClickHouse. Beyond it a partition waits until they can.",
    )
    dedup_held_events: int = Field(
        100_000,
        ge=1,
        le=10_000_000,
        description="Events that wait, with their partition counting on, until ClickHouse says whether it knows them.",
    )

    # When a worker commits
    flush_interval_s: float = Field(
        1.0, ge=0.05, le=300, description="A partition with pending events commits at least this often."
    )
    flush_events: int = Field(
        500_000, ge=1, le=50_000_000, description="A partition commits when so many events are pending."
    )
    flush_groups: int = Field(
        200_000, ge=1, le=1_000_000, description="A partition commits when so many rollup rows are pending."
    )
    watermark_interval_s: float = Field(
        5.0, ge=0.1, le=3600, description="An idle partition's watermark is advanced this often."
    )
    retry_wait_s: float = Field(
        0.2, ge=0.01, le=60, description="First wait after an error that may pass; doubles up to retry_wait_limit_s."
    )
    retry_wait_limit_s: float = Field(15.0, ge=0.01, le=600, description="Longest wait between two tries.")
    recheck_interval_s: float = Field(
        10.0,
        ge=0.05,
        le=3600,
        description="A worker looks this often whether the topic was replaced or has more partitions, and a stopped "
        "partition whether its cause is gone.",
    )
    rebalance_limit_s: float = Field(
        8.0,
        ge=0.1,
        le=600,
        description="A commit in flight may take so long when its partition is given away; then it is abandoned.",
    )
    shutdown_limit_s: float = Field(
        30.0, ge=0.1, le=600, description="Time for the last commits after SIGTERM; then the worker exits without them."
    )

    # Billing
    close_lateness_s: float = Field(
        86_400.0,
        ge=0,
        le=86_400.0 * 60,
        description="A billing period is complete when every partition's watermark is so far past its end. What comes "
        "later becomes a correction in the next bill.",
    )
    correction_window_days: int = Field(
        92,
        ge=0,
        le=3_650,
        description="Late usage of periods that ended up to so many days before a period begins is corrected with it. "
        "Keep the ledger's rollups for longer.",
    )

    # The process
    web_host: str = Field("127.0.0.1", min_length=1, description="Address of the worker's metrics and health port.")
    web_port: int = Field(
        0, ge=0, le=65_535, description="Port of the worker's metrics and health; 0 takes a free one."
    )
    data_dir: Path = Field(
        Path(".fleetmeter"),
        description="Folder of the local engines' data, logs and ready files. Workers keep nothing durable in it.",
    )
    cache_dir: Path | None = Field(
        None,
        description="Folder that keeps the local broker's jars between runs; the user's cache folder if not given.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe log line that is written."
    )
    log_format: Literal["text", "json"] = Field("text", description="Log lines for people or for machines.")

    @property
    def ghosts(self) -> bool:
        """Whether ClickHouse can log a token whose part never appears: see `CommitContext`."""
        return not self.clickhouse_replicated_path

    @classmethod
    def load(cls, **options: Any) -> Settings:
        """Settings from the environment, options first. Raises SettingsError with one line for each problem, naming the
        variable, its value's fault and the fix."""
        known = set(cls.model_fields)
        if unknown := sorted(set(options) - known):
            raise SettingsError("\n".join(f"unknown setting {name!r}{_did_you_mean(name, known)}" for name in unknown))
        try:
            return cls(**options)
        except ValidationError as error:
            raise SettingsError(
                "\n".join(_problem(detail, options) for detail in error.errors(include_url=False))
            ) from error

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003  (replaced by the strict one)
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  (a file in the current folder must not surprise)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _EnvironmentSource(settings_cls)

    @field_validator("topic")
    @classmethod
    def _check_topic(cls, value: str) -> str:
        if not _TOPIC_NAME.fullmatch(value) or value in {".", ".."}:
            raise ValueError(f"{value!r} is not a Kafka topic name (letters, digits, '.', '_', '-'; at most 249)")
        return value

    @field_validator("clickhouse_database")
    @classmethod
    def _check_database(cls, value: str) -> str:
        if not _SQL_NAME.fullmatch(value):
            raise ValueError(f"{value!r} is not a plain name (letters, digits, '_')")
        return value

    @field_validator("label_keys", mode="before")
    @classmethod
    def _split_label_keys(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("label_keys")
    @classmethod
    def _check_label_keys(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("a key stands there twice")
        if bad := [key for key in value if not 1 <= len(key) <= 64]:
            raise ValueError(f"{bad[0]!r} is not 1 to 64 characters long")
        return value

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.event_limit_bytes > self.record_limit_bytes:
            raise ValueError(
                f"event_limit_bytes ({self.event_limit_bytes}) must not be above "
                f"record_limit_bytes ({self.record_limit_bytes})"
            )
        if self.retry_wait_s > self.retry_wait_limit_s:
            raise ValueError(
                f"retry_wait_s ({self.retry_wait_s}) must not be above retry_wait_limit_s ({self.retry_wait_limit_s})"
            )
        if self.rebalance_limit_s >= self.session_timeout_s:
            raise ValueError(
                f"rebalance_limit_s ({self.rebalance_limit_s}) must be below "
                f"session_timeout_s ({self.session_timeout_s}): "
                "a worker has to give a partition away before Kafka takes it"
            )
        if self.heartbeat_interval_s > self.session_timeout_s / 3:
            raise ValueError(
                f"heartbeat_interval_s ({self.heartbeat_interval_s}) must not be above a third of "
                f"session_timeout_s ({self.session_timeout_s}): one lost heartbeat must not cost the partitions"
            )
        return self


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else "; `fleetmeter config` lists all settings"


def _unknown_variable(name: str, known: set[str]) -> str:
    # Compared without the prefix, which would make everything look alike.
    bare = difflib.get_close_matches(name[len(ENV_PREFIX) :], [one[len(ENV_PREFIX) :] for one in known], n=1)
    hint = f"; did you mean {ENV_PREFIX}{bare[0]}?" if bare else "; `fleetmeter config` lists all settings"
    return f"unknown environment variable {name}{hint}"


def _problem(detail: ErrorDetails, options: Mapping[str, Any]) -> str:
    message = detail["msg"].removeprefix("Value error, ")
    if not detail["loc"]:
        return message
    name = str(detail["loc"][0])
    where = name if name in options else f"{ENV_PREFIX}{name.upper()}"
    secret = name in Settings.model_fields and Settings.model_fields[name].annotation is SecretStr
    given = "" if secret else f" (given: {detail['input']!r})"
    return f"{where}: {message}{given}"
