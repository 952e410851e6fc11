"""A topic that is deleted, made again and filled beyond the position: to a consumer it looks like the old one.

No worker may count a record of the new log under the old positions. Once an operator has said so, the new log is
counted from its start; what was counted from the old one and is sent again is a duplicate.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from fleetmeter_chaos.stage import Stage

_COMMAND = "from fleetmeter_jobs.cli import main; main()"
_LIMIT_S = 60.0


def create_topic(admin: AdminClient, name: str, partitions: int) -> None:
    """As `fleetmeter up` makes it, but kept for ever: the broker's clock may jump by weeks."""
    config = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": "16000000", "retention.ms": "-1"}
    deadline = time.monotonic() + _LIMIT_S
    while True:
        try:
            admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(30)
        except KafkaException as error:
            if error.args[0].name() != "TOPIC_ALREADY_EXISTS" or time.monotonic() > deadline:
                raise
        else:
            return


def recreate(stage: Stage, refill: Callable[[], Any]) -> None:
    """Delete the topic, make it again, fill it, and let an operator begin a new log epoch.

    Raises StuckError if the partitions don't stand still, or the command does not do it.
    """
    admin, story = stage.engines.admin, stage.story
    story.tell("campaign", "the topic is deleted and made again", "topic recreated and refilled")
    admin.delete_topics([stage.name])[stage.name].result(30)
    create_topic(admin, stage.name, stage.plan.partitions)
    refill()
    story.tell("campaign", "the topic is refilled")
    stage.run_until(lambda: _new_epoch(stage), _LIMIT_S, "an operator can begin a new log epoch")


def _new_epoch(stage: Stage) -> bool:
    settings = {
        "kafka_bootstrap": stage.engines.bootstrap,
        "topic": stage.name,
        "clickhouse_url": stage.engines.clickhouse_url,
        "clickhouse_database": stage.name,
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FLEETMETER_")}
    environment |= {f"FLEETMETER_{name.upper()}": value for name, value in settings.items()}
    arguments = ["positions", "new-epoch", "--all", "--reason", "chaos", "--yes", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    story_line = (done.stdout + done.stderr).replace("\n", " ")
    stage.story.tell("operator", f"positions new-epoch --all: exit {done.returncode}: {story_line[:300]}")
    return done.returncode == 0
