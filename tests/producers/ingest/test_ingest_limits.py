"""What a server does when it is too much: for a token, for memory, for Kafka."""

from __future__ import annotations

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
from fleetmeter_doubles.ingest_events import arrived, make_event, text_of
from fleetmeter_doubles.ingest_server import BATCH, LINES, ingest_server, until
from fleetmeter_doubles.kafka_broker import FakeBroker, FakeKafkaError
from fleetmeter_producers.errors import ClientSettingsError
from fleetmeter_producers.ingest.allowance import Allowance
from fleetmeter_producers.ingest.delivery import Delivery
from fleetmeter_producers.ingest.settings import IngestSettings
from fleetmeter_producers.ingest.token_book import TokenBook
from fleetmeter_producers.ingest.tokens import TokenFile

QUICK: dict[str, Any] = {"ack_timeout_s": 1}
"""For answers that a broker which is away keeps waiting. A machine that stands still for a second gives them, too."""


def test_an_allowance_holds_its_rate_over_time() -> None:
    now = 0.0
    allowance = Allowance(10, 2, clock=lambda: now)
    sent = 0
    while now < 100:
        if (wait_s := allowance.wait_s()) > 0:
            now += wait_s
            continue
        allowance.pay(35)
        sent += 35
    assert 10 * 100 <= sent <= 10 * 100 + 20 + 35
    now += 1_000
    assert allowance.wait_s() == 0
    allowance.pay(20)
    allowance.pay(0)
    assert allowance.wait_s() == pytest.approx(0.1), "a burst is two seconds' worth, and nothing costs as much as one"


def test_a_token_that_sends_too_much_waits(token_file: TokenFile) -> None:
    now = [0.0]
    _, text = token_file.add("a", accounts=["*"], sources=["*"], events_per_s=2)
    _, other = token_file.add("b", accounts=["*"], sources=["*"])
    book = TokenBook(token_file, events_per_s=1_000, burst_s=1, clock=lambda: now[0])
    broker = FakeBroker()
    with ingest_server(broker, book=book) as server:
        batch = text_of(*(make_event(number) for number in range(10)))
        assert server.post(batch, LINES, token=text).status == 202, "a batch larger than the burst passes"
        refused = server.post(batch, LINES, token=text)
        assert (refused.status, refused.headers["Retry-After"]) == (429, "4")
        assert server.post(batch, LINES, token=other).status == 202
        now[0] = 4.1
        assert server.post(batch, LINES, token=text).status == 202
        assert len(broker.log) == 3
        now[0] = 10
        assert [server.post(b"x", BATCH, token=text).status for _ in range(4)] == [400, 400, 400, 429], (
            "rubbish costs, too"
        )


def test_a_broker_that_is_away_is_told_and_nothing_is_acknowledged() -> None:
    broker = FakeBroker()
    with ingest_server(broker, **QUICK) as server:
        broker.away = True
        answer = server.post(text_of(make_event(1)))
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert broker.log == []
        broker.away = False
        until(lambda: server.post(text_of(make_event(1))).status == 202)
    assert "event-1" in arrived(broker)["urn:test:gateway"]


def test_a_record_that_kafka_refuses_fails_the_request_and_readiness(caplog: pytest.LogCaptureFixture) -> None:
    broker = FakeBroker()
    with ingest_server(broker, record_events=1) as server:
        broker.refusals.extend([None, "not enough replicas"])
        answer = server.post(text_of(make_event(1), make_event(2)), LINES)
        assert answer.status == 503
        assert "same ids" in answer.json["detail"]
        ready = server.get("/readyz")
        assert (ready.status, ready.json["ready"]) == (503, False)
        assert "not enough replicas" in caplog.text
        assert "not enough replicas" not in f"{answer.json} {ready.json}", "strangers need not know what Kafka says"
        assert server.get("/healthz").status == 200
        again = server.post(text_of(make_event(1), make_event(2)), LINES)
        assert (again.status, again.json["accepted"]) == (202, 2)
        assert server.get("/readyz").json == {"ready": True}
    assert arrived(broker) == {"urn:test:gateway": ["event-1", "event-1", "event-2"]}


def test_an_old_error_does_not_keep_a_process_from_being_asked() -> None:
    now = [100.0]
    delivery = Delivery("usage", {}, connect=FakeBroker().connect, clock=lambda: now[0])
    assert delivery.trouble() is None
    delivery._on_error(FakeKafkaError("all brokers are down"))
    now[0] += 14
    assert delivery.trouble() == "all brokers are down"
    now[0] += 2
    assert delivery.trouble() is None


def test_a_full_queue_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with ingest_server(FakeBroker(queue_limit=0)) as server:
        answer = server.post(text_of(make_event()))
    assert answer.status == 503
    assert "queue full" in caplog.text


def test_a_producer_that_fails_for_good_is_replaced() -> None:
    broker = FakeBroker()
    with ingest_server(broker, **QUICK) as server:
        until(lambda: server.post(text_of(make_event(1))).status == 202)
        broker.break_producers()
        until(lambda: len(broker.configs) == 2)
        until(lambda: server.post(text_of(make_event(2))).status == 202)
    config = broker.configs[1]
    assert (config["acks"], config["enable.idempotence"]) == ("all", True)


def test_memory_is_bounded_while_the_broker_is_away() -> None:
    broker = FakeBroker()
    limits: dict[str, Any] = {"memory_limit_bytes": 2**20, "body_limit_bytes": 450_000, "retry_after_s": 7}
    with ingest_server(broker, **limits) as server, ThreadPoolExecutor(3) as pool:
        broker.away = True
        body = text_of(*(make_event(number, note="x" * 900) for number in range(320)))
        held = [pool.submit(server.post, body, LINES) for _ in range(2)]
        until(lambda: server.service._room.taken_bytes > 2 * len(body))
        answer = server.post(body, LINES)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "7")
        assert "nothing of this request was taken" in answer.json["detail"]
        assert server.get("/metrics").status == 200
        broker.away = False
        assert [future.result().status for future in held] == [202, 202]
        assert server.service._room.taken_bytes == 0


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    with ingest_server(read_timeout_s=0.1) as server:
        address = urlsplit(server.url)
        with socket.create_connection((address.hostname, address.port), timeout=20) as slow:
            slow.sendall(
                b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n"
                b"Content-Type: application/x-ndjson\r\n\r\n{"
            )
            answer = slow.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert server.service._room.taken_bytes == 0


@pytest.mark.parametrize("kept_alive", [False, True])
def test_a_body_on_its_way_is_waited_for_when_the_server_stops(kept_alive: bool) -> None:
    broker = FakeBroker()
    body = text_of(make_event())
    head = (
        b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    with socket.socket() as client, ThreadPoolExecutor(1) as pool:
        client.settimeout(20)
        with ingest_server(broker) as server:
            address = urlsplit(server.url)
            client.connect((address.hostname, address.port))
            if kept_alive:
                client.sendall(head + body)
                assert b" 202 " in client.recv(65_536)
            client.sendall(head + body[:20])
            until(lambda: server.service._unanswered == 1)

            def rest() -> bytes:
                until(lambda: server.service._draining)
                time.sleep(0.1)  # so that the server is as far in its shutdown as it gets
                client.sendall(body[20:])
                return client.recv(65_536)

            answer = pool.submit(rest)
        assert answer.result().startswith(b"HTTP/1.1 202 ")
        assert b"Connection: close" in answer.result()
    assert len(broker.log) == 1 + kept_alive


def test_requests_in_flight_are_answered_when_the_server_stops() -> None:
    broker = FakeBroker()
    with ThreadPoolExecutor(4) as pool:
        with ingest_server(broker) as server:
            broker.away = True
            held = [pool.submit(server.post, text_of(make_event(number))) for number in range(4)]
            until(lambda: server.service._room.taken_bytes > 4 * 16_000)
            back = threading.Timer(0.2, lambda: setattr(broker, "away", False))
            back.start()
        assert [future.result().status for future in held] == [202] * 4
        back.join()
    assert sorted(arrived(broker)["urn:test:gateway"]) == [f"event-{number}" for number in range(4)]


def test_a_defect_is_told_as_one(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def judge(self, *_: object) -> list[object]:
            raise RuntimeError("inside")

    with ingest_server(new_judge=Broken) as server:  # type: ignore[arg-type]
        answer = server.post(text_of(make_event()))
        assert server.service._room.taken_bytes == 0
    assert answer.status == 500
    assert "same ids" in answer.json["detail"]
    assert "inside" not in json.dumps(answer.json)
    assert "inside" in caplog.text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"event_limit_bytes": 10_000_000}, "event_limit_bytes"),
        ({"memory_limit_bytes": 2**20}, "memory_limit_bytes"),
        ({"threads": "many"}, "threads"),
        ({"linger_ms": 2000, "ack_timeout_s": 2}, "ack_timeout_s"),
        ({"thread": 1}, "thread"),
    ],
)
def test_limits_that_cannot_work_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ClientSettingsError, match=words):
        IngestSettings.of(**options)
