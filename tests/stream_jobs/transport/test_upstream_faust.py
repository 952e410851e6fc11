"""What consumer.py and app.py rely on in Faust and mode. Where one fails after an upgrade, read the new code, then
adapt."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable

import faust
import pytest
from faust.app.base import BootStrategy
from faust.serializers.schemas import Schema
from faust.tables.recovery import Recovery
from faust.transport import consumer as base
from faust.transport.drivers import aiokafka as driver
from faust.types import ConsumerMessage, Message
from fleetmeter_jobs.transport.consumer import Consumer
from mode import Service


def _source(function: Callable[..., object]) -> str:
    return ast.unparse(ast.parse(textwrap.dedent(inspect.getsource(function))))


def test_no_attribute_of_ours_hides_one_of_theirs() -> None:
    """`self._x = ` in the consumer must not be a name that Faust's consumer or mode's service uses for itself."""
    ours = _assigned(Consumer.__init__)
    theirs = _assigned(base.Consumer.__init__) | _assigned(Service.__init__) | _assigned(base.Consumer._reset_state)
    theirs |= set(dir(Service)) | set(dir(base.Consumer))
    assert not ours & theirs


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("getmany", ["timeout"]),
        ("ack", ["message"]),
        ("force_commit", ["topics", "start_new_transaction"]),
        ("_commit", ["offsets"]),
        ("_add_gap", ["tp", "offset_from", "offset_to"]),
        ("_to_message", ["tp", "record"]),
        ("perform_seek", []),
        ("_drain_messages", ["fetcher"]),
        ("on_partitions_revoked", ["revoked"]),
        ("on_partitions_assigned", ["assigned", "generation_id"]),
        ("stop_flow", []),
        ("resume_flow", []),
    ],
)
def test_the_consumers_methods(name: str, parameters: list[str]) -> None:
    assert [one for one in inspect.signature(getattr(base.Consumer, name)).parameters if one != "self"] == parameters


def test_every_abstract_method_is_there() -> None:
    assert not inspect.isabstract(Consumer)


def test_messages_come_from_getmany_and_are_dropped_before_the_read_offset() -> None:
    drain = _source(base.Consumer._drain_messages)
    assert "ait = cast(AsyncIterator, getmany(timeout=1.0))" in drain
    assert "if r_offset is None or offset >= r_offset:" in drain
    assert "await self._add_gap(tp, r_offset + 1, offset)" in drain
    assert "self.suspend_flow.wait()" in drain


def test_commits_all_go_through_force_commit() -> None:
    assert "await self.force_commit(topics" in _source(base.Consumer.commit)
    assert "self.commit(" in _source(base.Consumer.commit_and_end_transactions)


def test_a_rebalance_ends_with_perform_seek_and_resumed_flow() -> None:
    resume = _source(Recovery._resume_streams)
    assert resume.index("consumer.perform_seek()") < resume.index("consumer.resume_flow()")
    revoked = _source(faust.App._on_partitions_revoked)
    assert revoked.index("flow_control.suspend") < revoked.index("self.on_partitions_revoked.send")
    assert "self.on_partitions_assigned.send" in _source(faust.App._on_partitions_assigned)


def test_a_final_acknowledgement_reaches_the_consumer() -> None:
    assert "self.on_final_ack(consumer)" in _source(Message.ack)
    assert "consumer.ack(self)" in _source(ConsumerMessage.on_final_ack)


def test_the_app_asks_for_a_transport_and_boots_without_producer_and_web() -> None:
    assert list(inspect.signature(faust.App._new_transport).parameters) == ["self"]
    assert "self.app.conf" in _source(BootStrategy._should_enable_web)
    assert {"enable_kafka_producer", "enable_web"} <= set(BootStrategy.__annotations__)
    assert driver.Transport.Consumer is driver.Consumer
    assert "app.boot_strategy" not in _source(faust.App.on_first_start)
    assert "_create_directories" in _source(faust.App.on_first_start)


def test_a_schema_is_asked_to_compile_a_decoder() -> None:
    parameters = inspect.signature(Schema.compile).parameters
    assert list(parameters)[:2] == ["self", "app"]
    assert all(parameters[name].kind is inspect.Parameter.KEYWORD_ONLY for name in list(parameters)[2:])


def _assigned(function: Callable[..., object]) -> set[str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    targets = [target for node in ast.walk(tree) if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in ast.walk(tree) if isinstance(node, ast.AnnAssign)]
    return {
        target.attr
        for target in targets
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self"
    }
