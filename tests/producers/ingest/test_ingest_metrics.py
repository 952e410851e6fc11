"""What operators see of an ingest: figures that follow what happened, under the names that the page gives."""

from __future__ import annotations

import re
from pathlib import Path

from fleetmeter_doubles.ingest_events import make_event, text_of
from fleetmeter_doubles.ingest_server import LINES, IngestServer, ingest_server, until
from fleetmeter_doubles.kafka_broker import FakeBroker
from fleetmeter_producers.ingest.token_book import TokenBook
from fleetmeter_producers.ingest.tokens import TokenFile

PAGE = Path(__file__).parents[3] / "docs" / "producers" / "http.md"


def figures(server: IngestServer) -> dict[str, float]:
    lines = server.get("/metrics").json.decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_figures_follow_what_happened(token_file: TokenFile) -> None:
    _, token = token_file.add("a", accounts=["*"], sources=["urn:test:*"])
    broker = FakeBroker()
    book = TokenBook(token_file, events_per_s=None, burst_s=1)
    with ingest_server(broker, book=book, token_check_interval_s=0.01) as server:
        events = [make_event(1), make_event(2), make_event(3, type="x"), make_event(4, source="other")]
        assert server.post(text_of(*events), LINES, token=token).status == 202
        assert server.post(text_of(*events), LINES).status == 401
        broker.refusals.append("not enough replicas")
        assert server.post(text_of(make_event(5)), LINES, token=token).status == 503
        found = figures(server)
        token_file.path.write_text("{")
        until(lambda: figures(server)["fleetmeter_ingest_token_file_broken"] == 1)
    mine = {name.removeprefix("fleetmeter_ingest_"): value for name, value in found.items()}
    mine = {
        name: value
        for name, value in mine.items()
        if not name.startswith(("python", "process")) and "_created" not in name
    }
    assert {name: value for name, value in mine.items() if name.startswith(("requests_total", "events", "token"))} == {
        'requests_total{status="202"}': 1,
        'requests_total{status="401"}': 1,
        'requests_total{status="503"}': 1,
        "events_accepted_total": 2,
        'events_rejected_total{reason="unknown_type"}': 1,
        'events_rejected_total{reason="forbidden"}': 1,
        "events_unacknowledged_total": 1,
        "tokens": 1,
        "token_file_broken": 0,
    }
    assert mine["kafka_refusing"] == 1
    assert mine["memory_bytes"] == 0
    assert mine["received_bytes_total"] == len(text_of(*events)) + len(text_of(make_event(5)))
    assert mine["request_seconds_count"] == 3
    named = set(re.findall(r"`(fleetmeter_ingest_\w+)`", PAGE.read_text(encoding="utf-8")))
    own = {re.sub(r"(_bucket|_sum|_count)?({.*)?$", "", name) for name in mine}
    assert {name.removeprefix("fleetmeter_ingest_") for name in named} == own
