"""Looking into spools, and sending what dead processes left, without their clients."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from fleetmeter_doubles.kafka_broker import FakeBroker
from fleetmeter_producers import ClientSettings, SpoolError, UsageClient
from fleetmeter_producers.open_clients import forget
from fleetmeter_producers.spool.draining import drain_spool
from fleetmeter_producers.spool.home import homes_in
from fleetmeter_producers.spool.inspection import inspect_spool, source_folders
from fleetmeter_producers.spool.segment import Segment
from fleetmeter_schemas import OutcomeV1

QUICK = ClientSettings(outbox="memory", retry_wait_s=0.001, retry_wait_limit_s=0.01)


@pytest.fixture
def leave_behind(spool_dir: Path) -> Callable[[str, int], list[str]]:
    """`leave_behind(source, events)`: a client emits them, the broker is away, and its process ends by force."""

    def leave(source: str, events: int) -> list[str]:
        away = FakeBroker()
        away.away = True
        client = UsageClient("unused:1", source, connect=away.connect)
        ids = [client.emit("acct", OutcomeV1(name="done", quantity=1)) for _ in range(events)]
        assert client._sender is not None
        assert client._sender.stop(10)
        client._outbox.abandon()
        forget(client)  # nothing may tidy up after it
        ended_ms = time.time_ns() // 1_000_000
        while time.time_ns() // 1_000_000 == ended_ms:
            pass  # folders of one millisecond have no order
        return ids

    return leave


def test_what_waits_is_told_by_source_and_process(
    leave_behind: Callable[[str, int], list[str]], spool_dir: Path
) -> None:
    leave_behind("urn:test:one", 3)
    leave_behind("urn:test:one", 4)
    away = FakeBroker()
    away.away = True
    living = UsageClient("unused:1", "urn:test:two", connect=away.connect)
    living.emit("acct", OutcomeV1(name="done", quantity=1))
    reports = inspect_spool(spool_dir)
    assert [(report.source, report.topic, report.events) for report in reports] == [
        ("urn:test:one", "fleetmeter.usage", 7),
        ("urn:test:two", "fleetmeter.usage", 1),
    ]
    first = reports[0].homes[0]
    assert (first.events, first.alive) == (3, False)
    assert first.first_time is not None
    assert first.first_time.startswith("20")
    assert first.first_time <= str(first.last_time)
    assert inspect_spool(reports[0].folder) == [reports[0]]
    assert inspect_spool(spool_dir) == reports, "looking changes nothing"
    assert [home.alive for home in reports[1].homes] == [True]
    away.away = False
    assert living.close(60).events == 0


def test_draining_sends_under_the_old_ids_and_key(
    leave_behind: Callable[[str, int], list[str]], spool_dir: Path, broker: FakeBroker
) -> None:
    ids = leave_behind("urn:test:one", 30) + leave_behind("urn:test:one", 5)
    [folder] = source_folders(spool_dir)
    seen: list[tuple[int, int]] = []
    drained = drain_spool(
        folder,
        "unused:1",
        timeout_s=30,
        settings=QUICK,
        connect=broker.connect,
        progress=lambda *at: seen.append(at),
    )
    assert (drained.sent, drained.left, drained.damaged) == (35, 0, 0)
    assert seen[-1] == (35, 35)
    assert broker.ids() == ids
    assert {(topic, key) for topic, key, _ in broker.log} == {("fleetmeter.usage", b"urn:test:one")}
    assert inspect_spool(spool_dir)[0].homes == ()


def test_draining_gives_up_in_time_and_leaves_the_rest(
    leave_behind: Callable[[str, int], list[str]], spool_dir: Path, broker: FakeBroker
) -> None:
    leave_behind("urn:test:one", 3)
    broker.away = True
    [folder] = source_folders(spool_dir)
    drained = drain_spool(folder, "unused:1", timeout_s=0.3, settings=QUICK, connect=broker.connect)
    assert (drained.sent, drained.left) == (0, 3)
    assert inspect_spool(spool_dir)[0].events == 3


def test_draining_tells_of_what_it_had_no_time_to_begin_with(
    leave_behind: Callable[[str, int], list[str]], spool_dir: Path, broker: FakeBroker
) -> None:
    leave_behind("urn:test:one", 3)
    broker.away = True
    [folder] = source_folders(spool_dir)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fleetmeter_producers.spool.homes._ADOPTED_AT_MOST", 1)
        leave_behind("urn:test:one", 4)
        assert drain_spool(folder, "unused:1", timeout_s=0.1, settings=QUICK, connect=broker.connect).left == 7


def test_files_that_come_and_go_meanwhile_do_not_end_the_looking(
    leave_behind: Callable[[str, int], list[str]], spool_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_behind("urn:test:one", 3)
    leave_behind("urn:test:one", 4)
    first, gone = homes_in(source_folders(spool_dir)[0])
    sealed, real = iter([True]), Segment.open

    def open_late(path: Path) -> Segment | None:
        if path.parent == gone:
            shutil.rmtree(gone, ignore_errors=True)
        elif path.suffix == ".open" and next(sealed, False):
            path.rename(path.with_name("00000001-000000003.seg"))
        return real(path)

    monkeypatch.setattr(Segment, "open", open_late)
    [report] = inspect_spool(spool_dir)
    assert [(home.folder, home.events) for home in report.homes] == [(first, 3)]


def test_a_folder_that_is_no_spool_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpoolError, match=r"there is no folder .*nowhere"):
        inspect_spool(tmp_path / "nowhere")
    with pytest.raises(SpoolError, match="holds no spool"):
        inspect_spool(tmp_path)
    (tmp_path / "about.json").write_bytes(orjson.dumps({"source": 1}))
    with pytest.raises(SpoolError, match="does not name source and topic"):
        inspect_spool(tmp_path)
