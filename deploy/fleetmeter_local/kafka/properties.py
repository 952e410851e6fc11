"""The configuration of a broker that serves one machine."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fleetmeter_local.ports import LOOPBACK

MESSAGE_LIMIT_BYTES = 16 << 20
"""Largest record batch; above the workers' record limit, so that an over-large record reaches them and is counted."""


def broker_settings(log_dir: str, port: int, controller_port: int) -> dict[str, str]:
    """The settings of a broker and its own controller in one process.

    Args:
        log_dir: where partitions and metadata live.
        port: for clients, on loopback.
        controller_port: for the controller, on loopback.
    """
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": log_dir,
        # A topic with a typing error in its name must not come into being.
        "auto.create.topics.enable": "false",
        "message.max.bytes": str(MESSAGE_LIMIT_BYTES),
        "replica.fetch.max.bytes": str(MESSAGE_LIMIT_BYTES),
        "num.partitions": "1",
        # One node: internal topics cannot have more replicas, and one partition of each is enough.
        "default.replication.factor": "1",
        "min.insync.replicas": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        # Consumers of a fresh group start at once, not after 3 s.
        "group.initial.rebalance.delay.ms": "0",
        # Whoever tries out a crash wants to wait for less than the 6 s that a broker asks for by default.
        "group.min.session.timeout.ms": "1000",
        # After a kill -9 the controller lets the broker back in when its old session has run out.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        "num.network.threads": "2",
        "num.io.threads": "4",
        "num.recovery.threads.per.data.dir": "2",
        "log.cleaner.dedupe.buffer.size": str(4 << 20),
        "log.cleaner.threads": "1",
    }


def properties_text(settings: Mapping[str, str]) -> str:
    """The settings as a Java properties file."""
    # java.util.Properties reads a backslash as the beginning of an escape, and bytes beyond ASCII as Latin-1.
    text = "".join("{}={}\n".format(key, value.replace("\\", "\\\\")) for key, value in settings.items())
    return re.sub(r"[^\x00-\x7f]", _escape, text)


def _escape(character: re.Match[str]) -> str:
    """As Java's escapes: one for each unit of UTF-16."""
    units = character[0].encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
