"""Producers as processes: started together, listened to, and stopped together."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Final

from fleetmeter_producers.client import UsageClient
from fleetmeter_producers.errors import LoadError
from fleetmeter_producers.load.config import LoadConfig
from fleetmeter_producers.load.drive import drive
from fleetmeter_producers.load.report import Driven, LoadReport, Progress, report_of
from fleetmeter_producers.settings import ClientSettings

_LISTEN_S: Final = 0.5
_END_WAIT_S: Final = 10.0

Answer = Progress | Driven | str
"""What a producer tells: how far it is, its result, or why it could not go on."""


def run_load(
    config: LoadConfig,
    bootstrap: str,
    topic: str,
    *,
    spool_dir: Path,
    kafka: dict[str, str | int | float | bool] | None = None,
    show: Callable[[Progress], None] = lambda _progress: None,
) -> LoadReport:
    """Emit made-up generations, which are counted as any others, and report what became of them.

    `spool_dir` is where producers keep what is not delivered; `kafka` are librdkafka's options of the site. Ctrl-C ends
    the emission, and what was done until then is reported. Raises `ClientSettingsError` for bad settings, `LoadError`
    if a producer ended by itself.
    """
    settings = ClientSettings.of(
        batch=config.batch, outbox="spool" if config.spool else "memory", spool_dir=spool_dir, kafka=kafka or {}
    )
    context = multiprocessing.get_context("spawn")  # a fork would inherit what the caller's threads hold
    stop, driven, latest = context.Event(), dict[Connection, Driven](), dict[Connection, Progress]()
    with ExitStack() as stack:
        heard: dict[Connection, BaseProcess] = {}
        for number in range(config.producers):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(
                target=_produce,
                args=(theirs, stop, config, bootstrap, topic, f"urn:fleetmeter:load:{number:02}", settings),
                name=f"load-{number:02}",
                daemon=True,
            )
            process.start()
            theirs.close()
            stack.callback(_end, process)
            heard[ours] = process
        while len(driven) < len(heard):
            with _stopping(stop):
                for answering in wait([ours for ours in heard if ours not in driven], _LISTEN_S):
                    _hear(answering, heard, driven, latest)  # type: ignore[arg-type]  # only connections are waited for
                show(_together(latest))
    return report_of(config, list(driven.values()))


@contextmanager
def _stopping(stop: Event) -> Iterator[None]:
    """Ctrl-C, the first time, tells the producers to come to an end; the second time it ends this process, too."""
    try:
        yield
    except KeyboardInterrupt:
        if stop.is_set():
            raise
        stop.set()


def _hear(
    answering: Connection,
    heard: dict[Connection, BaseProcess],
    driven: dict[Connection, Driven],
    latest: dict[Connection, Progress],
) -> None:
    try:
        answer: Answer = answering.recv()
    except EOFError:
        heard[answering].join(_END_WAIT_S)
        answer = f"it ended with code {heard[answering].exitcode}"
    if isinstance(answer, str):
        raise LoadError(f"the producer {heard[answering].name} could not go on: {answer}")
    if isinstance(answer, Driven):
        driven[answering] = answer
        latest[answering] = answer.drained
    else:
        latest[answering] = answer


def _together(latest: dict[Connection, Progress]) -> Progress:
    total = Progress()
    for one in latest.values():
        total = total.plus(one)
    return total


def _end(process: BaseProcess) -> None:
    process.join(0 if process.is_alive() else _END_WAIT_S)
    if process.is_alive():
        process.terminate()
        process.join(_END_WAIT_S)


def _produce(
    answers: Connection,
    stop: Event,
    config: LoadConfig,
    bootstrap: str,
    topic: str,
    source: str,
    settings: ClientSettings,
) -> None:
    """The life of one producer's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent says when to stop
    try:
        client = UsageClient(bootstrap, source, topic, settings=settings)
        rate = config.events_per_s / config.producers
        driven = drive(client, rate, config.duration_s, drain_s=config.drain_s, tell=answers.send, stopped=stop.is_set)
    except BrokenPipeError:
        return  # nobody listens any more: the parent was killed
    except Exception as error:  # noqa: BLE001  (told to the parent, which raises it)
        answers.send(f"{type(error).__name__}: {error}")
        return
    answers.send(driven)
