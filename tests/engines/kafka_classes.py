"""`python kafka_classes.py ARCHIVE`: what the JVM makes of Kafka's classes, kept for the brokers of the tests.

A broker spends most of its start on reading and verifying the same six thousand classes. With this archive (class data
sharing: https://docs.oracle.com/en/java/javase/17/vm/class-data-sharing.html) it starts with half of the processor
time. A JVM for which the archive is of no use, say after an update, goes on without it. Where brokers do not run by
Java, nothing is made.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from fleetmeter_local import start_kafka
from fleetmeter_local.prerequisites import check_java, check_maven

OPTIONS = "-XX:TieredStopAtLevel=1"
"""For brokers that live as long as a test: compile quickly, not well. They start with a third less CPU time."""


def broker_options(archive: Path) -> str:
    """The JVM's options for a broker of the tests."""
    return f'{OPTIONS} "-XX:SharedArchiveFile={archive}"' if archive.exists() else OPTIONS


def make_archive(archive: Path) -> None:
    """Start a broker, and have it write the archive when it ends. There is none if it does not end in time."""
    unfinished = archive.with_suffix(f".{os.getpid()}")
    environment = {"JDK_JAVA_OPTIONS": f'{OPTIONS} "-XX:ArchiveClassesAtExit={unfinished}"'}
    with tempfile.TemporaryDirectory() as folder, start_kafka(Path(folder), source="local", environment=environment):
        pass
    if unfinished.exists():
        unfinished.rename(archive)
    else:
        print("The broker was stopped before it had written its classes: brokers of the tests start without.")


if __name__ == "__main__":
    if check_java().ok and check_maven().ok:
        make_archive(Path(sys.argv[1]).absolute())
