"""kill -9 of an app at random moments, a few hundred times: what it counted is reported, once, and nothing else is."""

import os
import random
import re
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from fleetmeter_producers.device import DeviceReporter, DeviceTraits, LocalModel
from fleetmeter_schemas import EventData

pytestmark = pytest.mark.long

KILLS: Final = int(os.environ.get("FLEETMETER_TEST_KILLS", "200"))
THREADS: Final = 2
TOKENS: Final = 3
NOTE: Final = re.compile(r"^(begin|count|deploy) (\d+\.0)\.$", re.MULTILINE)


class FileReporter:
    """Appends each event to a file that outlives the process; at times it takes none, or one and does not say so."""

    def __init__(self, path: Path, draw: random.Random) -> None:
        self._log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._draw = draw

    def emit(self, account: str, data: EventData, *, time: Any = None, id: str | None = None) -> str:  # noqa: A002
        if self._draw.random() < 0.1:
            raise OSError("no network")
        line = orjson.dumps([id, account, time, data.to_wire()])
        assert os.write(self._log, b"\n" + line + b"\n") == len(line) + 2
        if self._draw.random() < 0.1:
            raise OSError("no answer")
        return str(id)


def open_reporter(folder: Path) -> DeviceReporter:
    traits = DeviceTraits("test", 10**9)
    return DeviceReporter(folder / "counts", "acct", traits=traits, models=[LocalModel("m", None, 1)])


def live_until_killed(folder: Path, life: int, draw: random.Random, ready: int) -> None:
    """Runs in the child: counts, reports, and notes what returned."""
    reporter, receiver = open_reporter(folder), FileReporter(folder / "log", draw)
    reporter.allow()
    notes = os.open(folder / "notes", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def count() -> None:
        while True:
            os.write(notes, f"\nbegin {life + 1}.0.\n".encode())
            if reporter.count("m", output_tokens=TOKENS, active_ms=1_000):
                os.write(notes, f"\ncount {life + 1}.0.\n".encode())

    def report() -> None:
        while True:
            try:
                reporter.report(receiver)
            except OSError:
                continue

    if reporter.deployed("m", f"{life + 1}.0"):
        os.write(notes, f"\ndeploy {life + 1}.0.\n".encode())
    threads = [threading.Thread(target=count) for _ in range(THREADS)]
    if draw.random() < 0.7:
        threads.append(threading.Thread(target=report))
    for thread in threads:
        thread.start()
    os.write(ready, b".")
    signal.pause()


def in_child(work: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001  (nothing may leave the child)
            os.write(2, traceback.format_exc().encode())
            os._exit(1)
        os._exit(0)
    return child


def test_what_was_counted_is_reported_once_whatever_kills_the_app(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")
    draw = random.Random(seed)

    def report_the_rest() -> None:
        reporter, receiver = open_reporter(tmp_path), FileReporter(tmp_path / "log", random.Random(seed))
        for _ in range(100_000):
            try:
                reporter.report(receiver)
            except OSError:
                continue
            break
        assert reporter.preview() == []
        reporter.close()

    for life in range(KILLS):
        is_ready, ready = os.pipe()
        child = in_child(partial(live_until_killed, tmp_path, life, random.Random(f"{seed}/{life}"), ready))
        os.close(ready)
        if draw.random() < 0.9:  # the others are killed while they start
            assert os.read(is_ready, 1) == b".", f"life {life} never counted (seed {seed})"
        os.close(is_ready)
        time.sleep(draw.uniform(0.0, 0.02))
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL, f"life {life} ended by itself (seed {seed})"
        if life % 50 == 49 or life == KILLS - 1:  # before so many deployments wait that a device keeps no more
            assert os.waitpid(in_child(report_the_rest), 0)[1] == 0

    notes = Counter(NOTE.findall((tmp_path / "notes").read_text()))  # without those that were cut by a kill
    arrived: dict[str, bytes] = {}
    for line in (tmp_path / "log").read_bytes().split(b"\n"):
        if line.endswith(b"]"):
            event_id = orjson.loads(line)[0]
            assert arrived.setdefault(event_id, line) == line, f"{event_id} has two contents (seed {seed})"
    events = [orjson.loads(line)[3] for line in arrived.values()]
    estimates = [data for data in events if data["kind"] == "estimate"]
    # A life counts under its own version. A call that had not returned yet may have been counted or not.
    queries = Counter[str]()
    for data in estimates:
        queries[data["model_version"]] += data["queries"]
        assert data["output_tokens"] == TOKENS * data["queries"], f"half a count (seed {seed})"
    for life in range(KILLS):
        version = f"{life + 1}.0"
        least, most = notes["count", version], notes["begin", version]
        assert least <= queries[version] <= most, f"life {life} (seed {seed})"
    assert queries.keys() <= {f"{life + 1}.0" for life in range(KILLS)}
    in_use = [data["model_version"] for data in events if data["kind"] in {"deploy", "upgrade"}]
    assert len(in_use) == len(set(in_use)), f"a deployment was reported twice (seed {seed})"
    assert {version for kind, version in notes if kind == "deploy"} <= set(in_use), f"one is missing (seed {seed})"
    counts = sum(number for (kind, _), number in notes.items() if kind == "count")
    print(f"{KILLS} kills, {counts} noted, {queries.total()} reported in {len(arrived)} events")
    assert counts > KILLS, "the children hardly lived"
    (left,) = (tmp_path / "counts").iterdir()
    assert left.stat().st_size < 16 * 1024


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__, "-s"]))
