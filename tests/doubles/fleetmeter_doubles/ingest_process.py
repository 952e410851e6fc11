"""`fleetmeter ingest` as a process of its own, and senders that remember what they were answered."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleetmeter_doubles.ingest_server import LINES, IngestServer

START_S = 60.0


@dataclass
class IngestProcess:
    """One process and where it listens."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def end(self, number: int) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(START_S)


@contextmanager
def ingest_process(folder: Path, bootstrap: str, topic: str, *options: str, port: int = 0) -> Iterator[IngestProcess]:
    """Started as a person would; killed at the end if it still runs. `options` begin with what says who may send."""
    ready, log = folder / f"ingest-{time.monotonic_ns()}.json", folder / "ingest.log"
    settings = {"kafka_bootstrap": bootstrap, "topic": topic, "data_dir": str(folder / "data")}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FLEETMETER_")}
    environment |= {f"FLEETMETER_{name.upper()}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "fleetmeter_jobs.cli", "ingest", "--port", str(port), "--ready-file", str(ready)]
    with log.open("ab") as sink:
        process = subprocess.Popen([*command, *options], env=environment, stdout=sink, stderr=sink)
    try:
        give_up = time.monotonic() + START_S
        while not (ready.exists() and ready.read_text()):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < give_up, log.read_text()
            time.sleep(0.02)
        yield IngestProcess(process, json.loads(ready.read_text())["url"], log)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(START_S)


@dataclass
class Senders:
    """Threads that send batches as fast as they are answered. `batch(number)` is the body of a batch and its ids."""

    batch: Callable[[int], tuple[bytes, list[str]]]
    threads: int = 4
    acknowledged: set[str] = field(default_factory=set)
    """Ids of the batches that were answered with 202."""
    answers: list[int] = field(default_factory=list)
    """Statuses, in the order of their coming; 0 where a connection broke, or there was none."""
    stopping: threading.Event = field(default_factory=threading.Event)
    _next: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def sending(
        self, url: Callable[[], str], *, batches: int | None = None, token: str | None = None
    ) -> Iterator[None]:
        """Sends while the `with` lasts. With `batches`, so many, and each until it is answered with 202."""

        def run() -> None:
            while not self.stopping.is_set():
                with self._lock:
                    number, self._next = self._next, self._next + 1
                if batches is not None and number >= batches:
                    return
                body, ids = self.batch(number)
                while not self._sent(url(), body, ids, token) and batches is not None:
                    time.sleep(0.02)

        running = [threading.Thread(target=run) for _ in range(self.threads)]
        for thread in running:
            thread.start()
        try:
            yield
        finally:
            if batches is None:
                self.stopping.set()
            for thread in running:
                thread.join(120)

    def _sent(self, url: str, body: bytes, ids: list[str], token: str | None) -> bool:
        status = 0
        answer: Any = None
        try:
            answer = IngestServer(url, None).post(body, LINES, token=token)  # type: ignore[arg-type]
            status = answer.status
        except (OSError, http.client.HTTPException):
            pass  # that is what a killed server looks like
        with self._lock:
            self.answers.append(status)
            if status == 202:
                assert answer.json["accepted"] == len(ids), answer
                self.acknowledged.update(ids)
        return status == 202
