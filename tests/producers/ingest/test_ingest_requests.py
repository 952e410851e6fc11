"""What clients send, and what they are answered: content types, encodings, partial failures, limits."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import cramjam
import orjson
import pytest
from fleetmeter_doubles.ingest_events import arrived, make_event, text_of
from fleetmeter_doubles.ingest_server import BATCH, LINES, ONE, IngestServer, ingest_server
from fleetmeter_doubles.kafka_broker import FakeBroker
from fleetmeter_schemas.reasons import Reason

GOOD = {"accepted": 1, "rejected": 0, "errors": []}


def test_one_event(server: IngestServer, log: FakeBroker) -> None:
    event = make_event()
    answer = server.post(json.dumps(event, indent=2).encode())
    assert (answer.status, answer.json) == (202, GOOD)
    ((topic, key, value),) = log.log
    assert (topic, key, orjson.loads(value or b"")) == ("usage-test", b"urn:test:gateway", event)


@pytest.mark.parametrize("content_type", [BATCH, LINES, "application/ndjson; charset=utf-8"])
def test_many_events_lie_by_source_in_the_order_that_they_were_sent(
    server: IngestServer, log: FakeBroker, content_type: str
) -> None:
    events = [make_event(number, source=f"urn:test:{number % 2}") for number in range(10)]
    body = json.dumps(events, indent=1).encode() if content_type == BATCH else text_of(*events) + b"\n\n"
    answer = server.post(body, content_type)
    assert (answer.status, answer.json["accepted"]) == (202, 10)
    assert arrived(log) == {f"urn:test:{side}": [f"event-{number}" for number in range(side, 10, 2)] for side in (0, 1)}
    assert len(log.log) == 2


def test_binary_mode(server: IngestServer, log: FakeBroker) -> None:
    event = make_event(subject="Größe 50%")
    attributes = {f"ce_{name}": value for name, value in event.items() if name != "data"}
    attributes["ce_subject"] = "Gr%C3%B6%C3%9Fe 50%25"
    answer = server.post(b' {"model": "m",\n "generation_mode": "diffusion"} ', "application/json", **attributes)
    assert (answer.status, answer.json) == (202, GOOD)
    sent = orjson.loads(log.values()[0] or b"")
    assert {name: sent[name] for name in event if name != "data"} == {
        name: value for name, value in event.items() if name != "data"
    }
    assert sent["data"] == {"model": "m", "generation_mode": "diffusion"}


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        (b'{}, "subject": "acct-2"', {}, "not_json"),
        (b"{}", {"ce_data": "{}"}, "bad_value"),
        (b"{}", {"ce_subject": "%ff"}, "bad_utf8"),
    ],
)
def test_binary_mode_lets_nothing_in_that_is_no_data(
    server: IngestServer, log: FakeBroker, body: bytes, headers: dict[str, str], reason: str
) -> None:
    attributes = {f"ce_{name}": value for name, value in make_event().items() if name != "data"}
    answer = server.post(body, "application/json", **{**attributes, **headers})
    assert (answer.status, answer.json["reason"]) == (400, reason)
    assert log.log == []


def test_good_events_are_taken_and_the_others_told_by_index(server: IngestServer, log: FakeBroker) -> None:
    events: list[Any] = [make_event(number) for number in range(5)]
    events[1]["data"]["output_tokens"] = -1
    events[3] = 7
    answer = server.post(json.dumps(events).encode(), BATCH)
    assert answer.status == 202
    assert (answer.json["accepted"], answer.json["rejected"]) == (3, 2)
    first, second = answer.json["errors"]
    assert (first["index"], first["reason"], first["field"]) == (1, "negative", "data.output_tokens")
    assert first["message"] == (f"data.output_tokens: is -1; quantities are at least 0 [{Reason.NEGATIVE.sentence}]")
    assert (second["index"], second["reason"], second["field"]) == (3, "not_an_object", "")
    assert arrived(log) == {"urn:test:gateway": ["event-0", "event-2", "event-4"]}


def test_no_good_event_is_a_bad_request(server: IngestServer, log: FakeBroker) -> None:
    answer = server.post(text_of(make_event(type="x"), make_event(time="today")), LINES)
    assert answer.status == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert [error["reason"] for error in answer.json["errors"]] == ["unknown_type", "bad_time"]
    assert (answer.json["status"], answer.json["title"], answer.json["accepted"]) == (400, "Bad Request", 0)
    assert log.log == []


def test_an_empty_batch_is_taken(server: IngestServer) -> None:
    for body, content_type in ((b" [ ] ", BATCH), (b"\n \n", LINES)):
        answer = server.post(body, content_type)
        assert (answer.status, answer.json) == (202, {"accepted": 0, "rejected": 0, "errors": []})


def test_only_some_rejections_are_explained_in_full() -> None:
    with ingest_server(explained_errors=1) as server:
        bad = make_event(data={"model": "m", "generation_mode": "diffusion", "output_tokens": -1})
        first, second = server.post(text_of(bad, bad), LINES).json["errors"]
    assert "-1" in first["message"]
    assert second["message"] == Reason.NEGATIVE.sentence
    assert second["field"] == "data.output_tokens"


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        (b"[1", BATCH, "not_json"),
        (b"[1 2]", BATCH, "not_json"),
        (b"[1,]", BATCH, "not_json"),
        (b"[1] 2", BATCH, "not_json"),
        (b"{}", BATCH, "not_json"),
        (b'["\xff"]', BATCH, "bad_utf8"),
        (b"[" * 100_000, BATCH, "too_deep"),
    ],
)
def test_a_batch_that_is_no_array_says_where(server: IngestServer, body: bytes, content_type: str, reason: str) -> None:
    answer = server.post(body, content_type)
    assert (answer.status, answer.json["reason"]) == (400, reason)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not_json"),
        (b"[]", "not_an_object"),
        (text_of(make_event(1)) + b"\n" + text_of(make_event(2)), "not_json"),
        (b'{"a": "\xff"}', "bad_utf8"),
        (b'{"specversion": "1.0", "x": "line\nfeed"}', "not_json"),
        (b"[" * 70 + b"]" * 70, "too_deep"),
    ],
)
def test_one_event_that_is_none(server: IngestServer, log: FakeBroker, body: bytes, reason: str) -> None:
    answer = server.post(body, ONE)
    assert answer.status == 400
    assert [(error["index"], error["reason"]) for error in answer.json["errors"]] == [(0, reason)]
    assert log.log == []


def test_numbers_of_any_length_are_judged_one_by_one(server: IngestServer) -> None:
    huge = text_of(make_event(1)).replace(b": 3}", b": " + b"9" * 5_000 + b"}")
    answer = server.post(b"[" + huge + b"," + text_of(make_event(2)) + b"]", BATCH)
    assert [(error["index"], error["reason"]) for error in answer.json["errors"]] == [(0, "overflow")]
    unknown = text_of(make_event(3, x=0)).replace(b'"x": 0', b'"x": 1e999')
    assert server.post(unknown).json == GOOD


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "zstd"])
def test_compressed_bodies(server: IngestServer, log: FakeBroker, encoding: str) -> None:
    compress = cramjam.zstd.compress if encoding == "zstd" else gzip.compress
    half = [text_of(make_event(number)) + b"\n" for number in range(2)]
    answer = server.post(b"".join(bytes(compress(part)) for part in half), LINES, content_encoding=encoding)
    assert (answer.status, answer.json["accepted"]) == (202, 2), "members that follow one another are one body"
    assert arrived(log) == {"urn:test:gateway": ["event-0", "event-1"]}


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_body_in_very_many_parts_is_refused(server: IngestServer, encoding: str) -> None:
    """Each part takes a copy of what follows it: a few megabytes of empty ones would keep a thread busy for hours."""
    empty = bytes((cramjam.zstd.compress if encoding == "zstd" else gzip.compress)(b""))
    answer = server.post(empty * 1_001, LINES, content_encoding=encoding)
    assert answer.status == 413
    assert f"1000 {encoding} parts" in answer.json["detail"]
    assert server.post(empty * 1_000, LINES, content_encoding=encoding).status != 413


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_bomb_is_refused_when_it_passes_the_limit(encoding: str) -> None:
    compress = cramjam.zstd.compress if encoding == "zstd" else gzip.compress
    with ingest_server(body_limit_bytes=300_000, memory_limit_bytes=2**20) as server:
        bomb = bytes(compress(b" " * 50_000_000))
        assert len(bomb) < 100_000
        answer = server.post(bomb, LINES, content_encoding=encoding)
        assert (answer.status, answer.json["title"]) == (413, "Request Entity Too Large")
        exact = bytes(compress(b" " * 300_000))
        assert server.post(exact, LINES, content_encoding=encoding).status == 202
        broken = server.post(exact[:-3], LINES, content_encoding=encoding)
        assert broken.status == 400
        assert "breaks off" in broken.json["detail"]
        assert server.post(b"no " + exact, LINES, content_encoding=encoding).status == 400
        assert server.service._room.taken_bytes == 0


def test_what_is_too_large_is_refused_before_it_is_read() -> None:
    with ingest_server(body_limit_bytes=300_000, batch_limit_events=2, memory_limit_bytes=2**20) as server:
        assert server.post(b" " * 300_001, LINES).status == 413

        def chunks() -> Iterator[bytes]:
            for _ in range(4):
                yield b" " * 100_000

        assert server.post(chunks(), LINES, transfer_encoding="chunked").status == 413
        answer = server.post(text_of(*(make_event(number) for number in range(3))), LINES)
        assert answer.status == 413
        assert "more than 2 events" in answer.json["detail"]


@pytest.mark.parametrize(
    ("content_type", "headers", "accepts"),
    [
        (None, {}, "Accept"),
        ("text/plain", {}, "Accept"),
        ("application/json", {}, "Accept"),
        ("application/xml", {"ce_id": "1"}, "Accept"),
        (f"{ONE}; charset=latin-1", {}, "Accept"),
        (ONE, {"content_encoding": "br"}, "Accept-Encoding"),
        (ONE, {"content_encoding": "gzip, gzip"}, "Accept-Encoding"),
    ],
)
def test_what_is_not_understood_says_what_is(
    server: IngestServer, content_type: str | None, headers: dict[str, str], accepts: str
) -> None:
    answer = server.post(b"{}", content_type, **headers)
    assert answer.status == 415
    assert accepts in answer.headers
    assert answer.json["detail"]


def test_other_paths_and_methods(server: IngestServer) -> None:
    missing = server.get("/v1/nothing")
    assert (missing.status, missing.headers["Content-Type"]) == (404, "application/problem+json")
    wrong = server.get("/v1/events")
    assert (wrong.status, wrong.headers["Allow"]) == (405, "POST")
    assert wrong.json["detail"]


def test_an_escaped_key_is_the_key(server: IngestServer, log: FakeBroker) -> None:
    """A token's scope is judged by the same account that the workers bill."""
    for doubled in (b'"subject": "a", "\\u0073ubject": "b"', b'"\\u0073ubject": "b", "subject": "a"'):
        answer = server.post(text_of(make_event()).replace(b'"subject": "acct-1"', doubled))
        assert [error["reason"] for error in answer.json["errors"]] == ["duplicate_key"]
    assert log.log == []
