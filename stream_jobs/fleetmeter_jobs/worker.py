"""A worker process: from the settings to a clean end.

Start: web port, ready file, store (canary), topic, Faust app. Kafka or ClickHouse being away is waited for; a store
that fails the canary or a topic that can't be counted exactly ends the worker with a sentence.
End: SIGTERM or SIGINT commits what is pending and leaves; a second one, or shutdown_limit_s, ends the process hard.
Nothing is lost then either: what was not committed is read again from Kafka.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from fleetmeter_jobs.app import build_app, count_with
from fleetmeter_jobs.clickhouse_access import clickhouse_store
from fleetmeter_jobs.counting_core import new_core
from fleetmeter_jobs.errors import JobError, KafkaAccessError
from fleetmeter_jobs.kafka_topic import SeenTopic, TopicIdentity, countable_topic
from fleetmeter_jobs.ledger.canary import prove_store
from fleetmeter_jobs.ledger.clickhouse_scratch import clickhouse_scratch
from fleetmeter_jobs.ledger.context import CommitContext
from fleetmeter_jobs.ledger.growth import makes_room, read_topology
from fleetmeter_jobs.logs import configure_logs
from fleetmeter_jobs.metrics import Metrics, PartitionMetrics
from fleetmeter_jobs.partition_ledger import PartitionLedger
from fleetmeter_jobs.partitions import Partitions
from fleetmeter_jobs.processor import Processor
from fleetmeter_jobs.processor_seams import Limits
from fleetmeter_jobs.ready_file import write_ready_file
from fleetmeter_jobs.registration import Admission, Registration
from fleetmeter_jobs.settings import Settings
from fleetmeter_jobs.threads import Threads
from fleetmeter_jobs.web import Health, WebPort

log = logging.getLogger(__name__)

T = TypeVar("T")

EXIT_CLEAN = 0
EXIT_FAILED = 1
"""The worker could not start, or broke."""
EXIT_UNCONFIRMED = 3
"""Told to stop, but the last commits were not confirmed in time; the next worker finds out."""

_DRAINED_POLL_S = 0.1


def run_worker(settings: Settings, *, ready_file: Path | None = None, exit_when_drained: bool = False) -> int:
    """Run a worker until it is told to stop; returns the process's exit code.

    `ready_file` gets a JSON object {"pid", "web"} as soon as the web port listens; `<web>/health/ready` then tells when
    counting has begun. With `exit_when_drained` the worker ends by itself (code 0) when all its partitions are
    committed to their logs' ends. Must be called in the main thread: it handles signals.
    """
    configure_logs(settings)
    runner = asyncio.Runner()
    code, hanging = runner.run(_run(settings, ready_file, exit_when_drained))
    if hanging:
        # What waits for a server, threads or tasks that heed no cancelling, would keep the interpreter from ending.
        logging.shutdown()
        sys.stderr.flush()
        os._exit(code)
    runner.close()
    return code


async def _run(settings: Settings, ready_file: Path | None, exit_when_drained: bool) -> tuple[int, bool]:
    worker = Worker(settings, ready_file=ready_file, exit_when_drained=exit_when_drained)
    return await worker.run(), worker.hanging


class Worker:
    """One worker, made in the event loop that it lives in. `run` is its life."""

    def __init__(self, settings: Settings, *, ready_file: Path | None = None, exit_when_drained: bool = False) -> None:
        self.settings = settings
        self.hanging = False
        """After `run`: whether threads or tasks are left that may never end."""
        self._ready_file, self._exit_when_drained = ready_file, exit_when_drained
        self._doing = "starting"
        self._broken = False
        self._trouble = ""
        """What is waited for before counting begins, if anything."""
        self._seen_partitions = 0
        """How many the topic had when all partitions here were last told to look."""
        self._told_to_stop = asyncio.Event()
        self._threads = Threads()
        self._metrics = Metrics()
        self._partitions = Partitions(self._new_processor, settings.rebalance_limit_s)
        self._store = clickhouse_store(settings)
        self._topic = TopicIdentity(settings.kafka_access, settings.topic)
        self._app = build_app(settings)

    async def run(self) -> int:
        """Start, count, stop. Never raises for what Kafka or ClickHouse do; returns the exit code."""
        web = WebPort(self.settings.web_host, self.settings.web_port, self._health, self._metrics.registry)
        self._metrics.watch(self._partitions.statuses, lambda: "waiting" if self._trouble else self._doing)
        self._handle_signals()
        try:
            address = await web.start()
        except OSError as error:
            log.error("the web port %s:%s can't be used: %s", self.settings.web_host, self.settings.web_port, error)
            return EXIT_FAILED
        log.info("health and metrics on %s", address)
        for caution in self.settings.cautions():
            log.warning("%s", caution)
        if self._ready_file is not None:
            write_ready_file(self._ready_file, pid=os.getpid(), web=address)
        try:
            return await self._work()
        except JobError as error:
            log.error("%s", error)
            return EXIT_FAILED
        finally:
            self._threads.close()
            await web.stop()

    async def _work(self) -> int:
        settings = self.settings
        new_core(settings, bytes(16))  # says what is missing before anything is touched
        replicated = bool(settings.clickhouse_replicated_path)
        await self._until_available(prove_store, lambda: clickhouse_scratch(self._store.http, replicated=replicated))
        topic = await self._until_available(countable_topic, settings.kafka_access, settings.topic)
        if topic is not None:
            self._seen_partitions = topic.partitions
        if self._told_to_stop.is_set():
            return EXIT_CLEAN
        count_with(self._app, settings, self._partitions)
        log.info("counting topic %s of %s into %s", settings.topic, settings.kafka_bootstrap, settings.clickhouse_url)
        self._doing = "joining"
        if not await self._join():
            return EXIT_CLEAN
        self._doing = "counting"
        reason = await self._until_over()
        log.info("stopping: %s", reason)
        self._doing = "stopping"
        return await self._stop()

    async def _join(self) -> bool:
        """Start counting; False if told to stop meanwhile, and Kafka lets nobody join in time.

        aiokafka tries for ever to reach a Kafka that has gone away since it was asked for the topic, and heeds nothing.
        """
        joining = asyncio.ensure_future(self._app.start())
        told = asyncio.create_task(self._told_to_stop.wait())
        await asyncio.wait({joining, told}, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        await asyncio.wait({joining}, timeout=self.settings.shutdown_limit_s)
        if joining.done():
            joining.result()
            return True
        log.warning("stopping: told to, while Kafka let nobody join the group; nothing was counted")
        self.hanging = True
        return False

    async def _until_over(self) -> str:
        waits = {
            asyncio.create_task(self._told_to_stop.wait()): "told to",
            asyncio.create_task(self._watch_topic()): "the topic can't be watched any more",
            asyncio.create_task(self._app.wait_until_stopped()): "the Faust app ended",
        }
        if self._exit_when_drained:
            waits[asyncio.create_task(self._until_drained())] = "everything is committed"
        done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        for task in done:
            if (defect := task.exception()) is not None:
                log.error("%s: a defect of fleetmeter, please report it", waits[task], exc_info=defect)
                self._broken = True
        return ", ".join(waits[task] for task in done)

    async def _watch_topic(self) -> None:
        """A topic that is replaced under a running consumer is delivered on as if nothing had happened."""
        while True:
            await asyncio.sleep(self.settings.recheck_interval_s)
            try:
                found = await self._threads.store(countable_topic, self.settings.kafka_access, self.settings.topic)
            except JobError as error:
                if error.retryable:
                    log.debug("the topic can't be looked at now: %s", error)
                elif isinstance(error, KafkaAccessError):
                    # A password that was changed says nothing about the log, and open connections stay logged in.
                    log.warning("counting goes on, but a new connection is refused: %s", error)
                else:
                    self._partitions.look_again(str(error))
            else:
                self._partitions.look_again("the topic was deleted and made again", unless=found.topic_id)
                await self._app.batch_consumer.notice_partitions(found.name, found.partitions)
                if found.partitions > self._seen_partitions:
                    # Also those that have nothing to commit, and so would not notice that their epoch was closed.
                    self._partitions.look_again("the topic got more partitions")
                self._seen_partitions = found.partitions
                await self._make_room()

    async def _make_room(self) -> None:
        """Partitions that somebody is about to close stop committing, or the decision would never come first."""
        try:
            topology = await self._threads.store(read_topology, self._store, self.settings.topic)
        except JobError as error:
            log.debug("the topic's growth can't be looked at now: %s", error)
            return
        now_ms = time.time_ns() // 1_000_000
        self._partitions.look_again("the topic is about to grow", where=lambda one: makes_room(topology, one, now_ms))

    async def _admit(self, partition: int) -> bool:
        """Whether the partition may count all that its log holds; if not, it may count its section of a growth. The
        first time, make the topic's partitions known.

        Raises PartitionsAddedError if the topic has partitions that the ledger does not know of.
        """
        settings, threads = self.settings, self._threads
        topic = await threads.store(countable_topic, settings.kafka_access, settings.topic)
        registration = Registration(self._store, CommitContext(ghosts=settings.ghosts))
        admission = await threads.store(registration.admission, topic, partition)
        if admission is Admission.REGISTER:
            starts = await self._app.batch_consumer.log_starts(topic.name, range(topic.partitions))
            await threads.store(registration.register, topic, starts)
        return admission is not Admission.SECTION

    async def _until_drained(self) -> None:
        began_ms = None
        while True:
            if not self._partitions.ready:
                began_ms = None
            elif began_ms is None:
                began_ms = time.time() * 1000
            else:
                drained_ms = self._partitions.drained_since_ms()
                if drained_ms is not None and (drained_ms >= began_ms or not self._partitions.statuses()):
                    return
            await asyncio.sleep(_DRAINED_POLL_S)

    async def _stop(self) -> int:
        crashed = self._app.crashed
        if crashed:
            log.error("the Faust app crashed: %r", self._app.crash_reason)
        confirmed = await self._partitions.stop(self.settings.shutdown_limit_s)
        self.hanging = not confirmed
        try:
            async with asyncio.timeout(self.settings.shutdown_limit_s):
                await self._app.stop()
        except TimeoutError:
            log.warning("leaving the consumer group took too long; Kafka will notice after the session's time-out")
            self.hanging = True
        self.hanging |= self._threads.waiting > 0  # a chunk that is being sealed: the next worker seals it
        log.info("stopped")
        if crashed or self._broken:
            return EXIT_FAILED
        return EXIT_CLEAN if confirmed else EXIT_UNCONFIRMED

    # What the parts are made of

    def _new_processor(self, partition: int) -> Processor:
        settings, metrics = self.settings, PartitionMetrics(self._metrics, partition)
        topic = SeenTopic(lambda: countable_topic(settings.kafka_access, settings.topic), self._topic.now)
        ledger = PartitionLedger(
            self._store,
            settings.topic,
            partition,
            settings,
            topic.topic_id,
            metrics,
            topic_id_now=topic.topic_id_now,
        )
        limits = Limits(
            flush_interval_s=settings.flush_interval_s,
            flush_events=settings.flush_events,
            flush_groups=settings.flush_groups,
            watermark_interval_s=settings.watermark_interval_s,
            inbox_bytes=settings.inbox_limit_bytes,
            retry_wait_s=settings.retry_wait_s,
            retry_wait_limit_s=settings.retry_wait_limit_s,
            recheck_interval_s=settings.recheck_interval_s,
            held_events=settings.dedup_held_events,
            exact_bytes=settings.dedup_exact_limit_bytes,
            filter_bytes=settings.dedup_filter_limit_bytes,
        )
        return Processor(ledger, self._app.batch_consumer, limits, self._threads, metrics, admit=self._admit)

    def _health(self) -> Health:
        ready = self._doing == "counting" and self._partitions.ready
        return Health(ready, self._doing, self._trouble, self._partitions.statuses())

    async def _until_available(self, call: Callable[..., T], *args: Any) -> T | None:
        """The call's answer, tried until what it needs is there; None when told to stop meanwhile."""
        wait_s = self.settings.retry_wait_s
        while not self._told_to_stop.is_set():
            try:
                answer = await self._threads.store(call, *args)
                self._trouble = ""
            except JobError as error:
                if not error.retryable:
                    raise
                self._trouble = str(error)
                log.warning("waiting: %s", error)
            else:
                return answer
            try:
                async with asyncio.timeout(wait_s):
                    await self._told_to_stop.wait()
            except TimeoutError:
                wait_s = min(wait_s * 2, self.settings.retry_wait_limit_s)
        return None

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: int) -> None:
        if not self._told_to_stop.is_set():
            log.info("%s: committing what is pending; a second one ends at once", signal.Signals(number).name)
            self._told_to_stop.set()
            return
        log.warning("%s again: ending at once; what was not committed will be read again", signal.Signals(number).name)
        logging.shutdown()
        os._exit(128 + number)
