"""kill -9 of a client at random moments: what `emit` accepted arrives, under one id each, and nothing else does.

With several hundred lives: CLIENT_LIVES=500 python -m pytest -s tests/producers/test_usage_client_killed.py
"""

import os
import random
import re
import resource
import signal
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import orjson
import pytest
from fleetmeter_doubles.file_broker import events_of, file_broker
from fleetmeter_producers import ClientSettings, OutboxFullError, UsageClient
from fleetmeter_schemas import OutcomeV1

# coverage.py's tracer takes a lock of its own at each call: what forks, or interrupts itself, may wait for it for ever.
pytestmark = pytest.mark.no_cover

KILLS: Final = int(os.environ.get("CLIENT_LIVES", "50"))
THREADS: Final = 3
NOTE: Final = re.compile(r"^([0-9A-Z]{26}-\d+) (\d+/\d+/\d+)\.$", re.MULTILINE)
SOURCE: Final = "urn:test:mortal"


def make(folder: Path, seed: int, **broker: float) -> UsageClient:
    settings = ClientSettings(
        spool_dir=folder / "spool",
        spool_reserve_bytes=0,
        outbox_limit_bytes=2**20,
        when_full="raise",
        retry_wait_s=0.001,
        retry_wait_limit_s=0.002,
    )
    return UsageClient(
        "unused:1",
        SOURCE,
        settings=settings,
        connect=file_broker(folder / "log", seed=seed, **broker),  # type: ignore[arg-type]
    )


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


def wait_for(sign: bytes, pipe: int) -> bool:
    """Whether it came before the other end was closed."""
    while sign and (byte := os.read(pipe, 1)) != sign:
        if not byte:
            return False
    return True


def emit_until_killed(folder: Path, seed: int, draw: random.Random, ready: int) -> None:
    """Runs in the child: emits, and notes each accepted id in a file, with the name of the event."""
    mishap = draw.choice(["none", "none", "none", "away", "unsure", "disk full"])
    client = make(folder, seed, away=mishap == "away", unsure=0.2 if mishap == "unsure" else 0.0)
    accepted = os.open(folder / "accepted", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    if mishap == "disk full":
        # It is the size of files that is limited; the notes need one of their own, which stays shorter.
        os.close(accepted)
        accepted = os.open(folder / f"accepted-{seed}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY))

    def emit() -> None:
        number = told = 0
        while True:
            number += 1
            name = f"{seed}/{threading.get_ident()}/{number}"
            try:
                event_id = client.emit("acct", OutcomeV1(name=name, quantity=1))
            except OutboxFullError:
                time.sleep(0.001)
                continue
            os.write(accepted, f"\n{event_id} {name}.\n".encode())
            if not told:
                told = os.write(ready, b"!")

    threads = [threading.Thread(target=emit) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    os.write(ready, b".")
    signal.pause()


def damage_the_end(folder: Path, draw: random.Random) -> None:
    """As a write that the kernel did not finish: bytes that are no whole entry follow the last one."""
    for path in (folder / "spool").rglob("*.open"):
        if draw.random() < 0.3:
            with path.open("ab") as file:
                file.write(draw.randbytes(draw.randrange(1, 40)))


def has_open_segments(folder: Path) -> bool:
    """Also while a sender deletes folders in it, which `rglob` would stumble over."""
    return any(name.endswith(".open") for _, _, names in os.walk(folder) for name in names)


def test_what_was_accepted_arrives_whatever_kills_the_client(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")
    draw = random.Random(seed)
    lived = 0
    for life in range(KILLS):
        is_ready, ready = os.pipe()
        child = in_child(partial(emit_until_killed, tmp_path, life, random.Random(f"{seed}/{life}"), ready))
        os.close(ready)
        # A tenth of them are killed while they start; half as soon as they might emit; the others when they have.
        share = draw.random()
        sign = b"!" if share < 0.4 else b"." if share < 0.9 else b""
        came = wait_for(sign, is_ready)
        time.sleep(draw.uniform(0.0, 0.02))
        os.kill(child, signal.SIGKILL)
        os.close(is_ready)
        assert came, f"life {life} ended before it emitted (seed {seed})"
        lived += sign == b"!"
        assert os.waitpid(child, 0)[1] == signal.SIGKILL, f"life {life} ended by itself (seed {seed})"
        damage_the_end(tmp_path, draw)

    def send_the_rest() -> None:
        client = make(tmp_path, seed)
        deadline = time.monotonic() + 60
        while client.stats().pending_events or has_open_segments(tmp_path / "spool"):
            assert time.monotonic() < deadline
            client.flush(0.2)
        assert client.close(60).events == 0
        (tmp_path / "rest").write_bytes(orjson.dumps([client.stats().recovered, client.stats().damaged]))

    assert os.waitpid(in_child(send_the_rest), 0)[1] == 0
    recovered, damaged = orjson.loads((tmp_path / "rest").read_bytes())
    notes = "".join(path.read_text() for path in tmp_path.glob("accepted*"))
    accepted = dict(NOTE.findall(notes))  # without those that were cut by a kill
    arrived: dict[str, set[str]] = {}
    for event in events_of(tmp_path / "log"):
        arrived.setdefault(event["id"], set()).add(event["data"]["name"])
    assert not {event_id for event_id, names in arrived.items() if len(names) != 1}, (
        f"an id for two events (seed {seed})"
    )
    lost = {event_id for event_id, name in accepted.items() if arrived.get(event_id) != {name}}
    assert not lost, f"{len(lost)} of {len(accepted)} accepted events never arrived (seed {seed})"
    # An event whose `emit` had not returned yet may have been accepted or not.
    assert len(arrived) - len(accepted) <= KILLS * THREADS
    assert len({name for names in arrived.values() for name in names}) == len(arrived), f"counted twice (seed {seed})"
    assert damaged == 0
    assert {path.name for path in (tmp_path / "spool").rglob("*") if path.is_file()} == {"about.json"}
    print(
        f"{KILLS} kills, {len(accepted)} accepted, {len(arrived)} arrived, {recovered} of them sent by the last client"
    )
    assert len(accepted) >= lived > 0, "the children hardly lived"
