"""URL parameters and headers as jobs for the engine."""

from __future__ import annotations

import uuid

import pytest
from fleetmeter_local.clickhouse.answers import ClickHouseError
from fleetmeter_local.clickhouse.request import Job, read_job


def _read(
    query: dict[str, str], headers: dict[str, str] | None = None, *, reader: bool = False, post: bool = True
) -> Job:
    return read_job(query.items(), headers or {}, reader=reader, changes=post)


def test_parameters_settings_and_the_rest_are_told_apart() -> None:
    job = _read(
        {
            "query": "SELECT 1",
            "database": "d",
            "default_format": "CSV",
            "query_id": "q",
            "param_x": "1",
            "param_": "odd",
            "max_threads": "2",
            "session_id": "s",
            "wait_end_of_query": "1",
            "compress": "0",
            "user": "u",
            "password": "p",
        }
    )
    assert job == Job("q", "d", "CSV", {"max_threads": "2"}, {"x": "1", "": "odd"}, "0")


def test_headers_stand_in_for_what_the_url_leaves_out() -> None:
    headers = {"X-ClickHouse-Database": "d", "X-ClickHouse-Format": "JSON", "X-ClickHouse-Query-Id": "h"}
    assert _read({}, headers) == Job("h", "d", "JSON")
    assert _read({"database": "e", "default_format": "CSV", "query_id": "q"}, headers) == Job("q", "e", "CSV")


def test_a_request_without_an_id_gets_one_of_its_own() -> None:
    first, second = _read({}).query_id, _read({}).query_id
    assert first != second
    assert uuid.UUID(first)


@pytest.mark.parametrize(("given", "revision"), [("54405", 54405), ("", 0), ("new", 0)])
def test_the_clients_protocol_is_noted(given: str, revision: int) -> None:
    assert _read({"client_protocol_version": given}).protocol_revision == revision


def test_the_last_of_a_repeated_parameter_counts() -> None:
    job = read_job([("max_threads", "1"), ("max_threads", "2")], {}, reader=False, changes=True)
    assert job.settings == {"max_threads": "2"}


@pytest.mark.parametrize(
    ("query", "reader", "post", "readonly"),
    [
        ({}, False, True, "0"),
        ({}, False, False, "2"),
        ({}, True, True, "1"),
        ({}, True, False, "1"),
        ({"readonly": "1"}, False, True, "1"),
        ({"readonly": "2"}, False, True, "2"),
        ({"readonly": "1"}, False, False, "1"),
        ({"readonly": "2"}, True, True, "1"),
    ],
)
def test_readonly_is_never_looser_than_user_and_method(
    query: dict[str, str], reader: bool, post: bool, readonly: str
) -> None:
    job = _read(query, reader=reader, post=post)
    assert job.readonly == readonly
    assert "readonly" not in job.settings


@pytest.mark.parametrize(("reader", "post"), [(True, True), (True, False), (False, False)])
def test_a_reader_cannot_lift_readonly(reader: bool, post: bool) -> None:
    with pytest.raises(ClickHouseError) as caught:
        _read({"readonly": "0"}, reader=reader, post=post)
    assert caught.value.code == 164


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"role": "r"}, 511),
        ({"compress": "1"}, 48),
        ({"decompress": "1"}, 48),
        ({"a b": "1"}, 115),
        ({"a=1;": "1"}, 115),
    ],
)
def test_what_cannot_be_honoured_is_refused(query: dict[str, str], code: int) -> None:
    with pytest.raises(ClickHouseError) as caught:
        _read(query)
    assert caught.value.code == code
