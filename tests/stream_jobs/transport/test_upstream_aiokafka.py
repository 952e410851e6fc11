"""What lean_fetcher relies on in aiokafka. Where one of these fails after an upgrade, read the new code, then adapt."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import Fetcher, FetchError, FetchResult
from aiokafka.consumer.group_coordinator import CoordinatorGroupRebalance, GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState, TopicPartitionState
from aiokafka.protocol.fetch import FetchRequest
from fleetmeter_jobs.transport.lean_fetcher import LeanConsumer, LeanFetcher


def _parameters(function: Callable[..., object]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


def _source(function: Callable[..., object]) -> str:
    """Without comments and formatting, so that only a change of meaning counts."""
    return ast.unparse(ast.parse(textwrap.dedent(inspect.getsource(function))))


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (Fetcher._proc_fetch_request, ["assignment", "node_id", "request"]),
        (Fetcher._update_fetch_positions, ["assignment", "node_id", "tps"]),
        (Fetcher._set_error, ["tp", "error"]),
        (Fetcher._create_fetch_waiter, []),
        (Fetcher._notify, ["future"]),
        (FetchResult, ["tp", "assignment", "partition_records", "backoff"]),
        (FetchResult.getone, []),
        (FetchResult.has_more, []),
        (FetchError.check_raise, []),
        (SubscriptionState.fetch_context, []),
        (FetchRequest, ["max_wait_time", "min_bytes", "max_bytes", "isolation_level", "topics", "rack_id"]),
    ],
    ids=lambda value: getattr(value, "__qualname__", None),
)
def test_signatures(function: Callable[..., object], parameters: list[str]) -> None:
    assert _parameters(function) == parameters


def test_the_hooks_override_methods_that_exist() -> None:
    for name in ("_proc_fetch_request", "_update_fetch_positions"):
        assert getattr(LeanFetcher, name) is not getattr(Fetcher, name)
        assert inspect.iscoroutinefunction(getattr(Fetcher, name))


def test_positions_are_chosen_in_one_place_only() -> None:
    """A position comes from `seek`, from `consumed_to` (taking what was fetched) and from the two that are switched
    off."""
    callers = {
        name
        for name, method in inspect.getmembers(Fetcher, inspect.isfunction)
        if any(call in inspect.getsource(method) for call in (".reset_to(", ".await_reset(", ".consumed_to("))
    }
    assert callers == {"_proc_fetch_request", "_update_fetch_positions", "request_offset_reset"}
    assert "consumed_to" in inspect.getsource(FetchResult._update_position)


def test_the_fetch_routine_leaves_responses_to_the_hook() -> None:
    routine = _source(Fetcher._fetch_requests_routine)
    assert "self._proc_fetch_request(assignment, node_id, request)" in routine
    assert "self._update_fetch_positions(assignment, node_id, tps)" in routine
    assert "any((fut.result() for fut in done_pending))" in routine


def test_a_response_has_the_parts_where_the_hook_looks() -> None:
    upstream = _source(Fetcher._proc_fetch_request)
    assert "for partition, error_code, highwater, *part_data in partitions" in upstream
    assert "response.API_VERSION >= 11" in upstream
    for part in ("lso = part_data[0]", "aborted_transactions = part_data[2]", "aborted_transactions = part_data[-2]"):
        assert part in upstream
    assert "MemoryRecords(part_data[-1])" in upstream


def test_a_fetch_result_reads_its_iterators_position() -> None:
    assert "self._partition_records.next_fetch_offset" in _source(FetchResult._update_position)
    assert "position != self._partition_records.next_fetch_offset" in _source(FetchResult.check_assignment)
    assert "next(self._partition_records, None)" in _source(FetchResult.getone)


def test_background_errors_are_where_take_looks() -> None:
    assert "return self._fetch_task" in _source(Fetcher.error_future.fget)
    assert "self._coordination_task.done()" in _source(GroupCoordinator.check_errors)
    assert "self._sync_task = create_task(self._md_synchronizer())" in _source(AIOKafkaClient.bootstrap)


def test_a_member_leaves_the_group_unless_it_has_an_instance_id() -> None:
    """Which is why `LeanConsumer.stop` takes the id away."""
    assert "self.generation > 0 and self._group_instance_id is None" in _source(GroupCoordinator._maybe_leave_group)
    assert "await self._maybe_leave_group()" in _source(GroupCoordinator.close)
    assert "await self._coordinator.close()" in _source(AIOKafkaConsumer.stop)
    assert "self._coordinator._group_instance_id" in _source(CoordinatorGroupRebalance.perform_group_join)


def test_an_assignor_is_asked_as_ours_answers() -> None:
    """Objects will do; upstream's own are classes. Only one of them, since a join is sent for each."""
    assert "assignor.metadata(topics)" in _source(CoordinatorGroupRebalance.perform_group_join)
    assert "assignor.assign(self._cluster, member_metadata)" in _source(GroupCoordinator._perform_assignment)
    assert "assignor.on_assignment(assignment)" in _source(GroupCoordinator._on_join_complete)
    assert "assignor.name == name" in _source(GroupCoordinator._lookup_assignor)


def test_a_partition_state_has_what_drained_reads() -> None:
    assigned = set(_attributes(TopicPartitionState.__init__))
    assert {"highwater", "lso", "timestamp"} <= assigned


def test_start_makes_the_fetcher_before_anything_is_subscribed() -> None:
    upstream = _source(AIOKafkaConsumer.start)
    assert "self._fetcher = Fetcher(self._client, self._subscription" in upstream
    wanted = {
        "_fetch_min_bytes",
        "_fetch_max_bytes",
        "_fetch_max_wait_ms",
        "_max_partition_fetch_bytes",
        "_check_crcs",
        "_consumer_timeout",
        "_retry_backoff_ms",
        "_isolation_level",
        "_closed",
        "_subscription",
        "_client",
    }
    assert wanted <= set(_attributes(AIOKafkaConsumer.__init__))


def test_the_exchanged_fetcher_gets_every_option_that_matters() -> None:
    """A new option of upstream's Fetcher must be looked at: is it one that the jobs should pass on?"""
    given_on_purpose = {
        "client",
        "subscriptions",
        "key_deserializer",
        "value_deserializer",
        "fetch_min_bytes",
        "fetch_max_bytes",
        "fetch_max_wait_ms",
        "max_partition_fetch_bytes",
        "check_crcs",
        "fetcher_timeout",
        "prefetch_backoff",
        "retry_backoff_ms",
        "auto_offset_reset",
        "isolation_level",
        "client_rack",
    }
    assert set(_parameters(Fetcher.__init__)) == given_on_purpose
    assert LeanConsumer.start is not AIOKafkaConsumer.start


def _attributes(function: Callable[..., object]) -> list[str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return [
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    ]
