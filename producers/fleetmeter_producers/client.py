"""The client that inference servers install: hand an event over, and it will be counted exactly once.

    client = UsageClient("kafka:9092", source="urn:example:eu-1:diffusion-7")
    client.emit("acct-42", GenerationV1(model="llada-8b-instruct", generation_mode="diffusion", output_tokens=128))

`emit` checks the event, gives it an id, writes it into the spool (files of this machine) and returns; it never touches
the network. A background thread sends, and sends again until the broker has acknowledged. What a killed process left in
the spool is sent by the next client of the same source on the same machine, with the ids that it had.
"""

from __future__ import annotations

import logging
import threading
import time as clock
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final, Self

from fleetmeter_schemas.envelope import EventRejected, check_against_time, check_attribute
from fleetmeter_schemas.events import EVENT_TYPES, EventData
from fleetmeter_schemas.reasons import Reason

from fleetmeter_producers import open_clients
from fleetmeter_producers.errors import ClientClosedError, OutboxFullError
from fleetmeter_producers.incarnation import Incarnation
from fleetmeter_producers.interruptions import Interruptions
from fleetmeter_producers.kafka import Connect, connect
from fleetmeter_producers.outbox import Outbox, Pending
from fleetmeter_producers.outbox_choice import outbox_opener
from fleetmeter_producers.packing import packing
from fleetmeter_producers.sender import Sender
from fleetmeter_producers.settings import ClientSettings
from fleetmeter_producers.wire import encode_event, micros_of

_logger = logging.getLogger(__name__)

DEFAULT_TOPIC: Final = "fleetmeter.usage"
_ACCOUNTS_REMEMBERED: Final = 10_000
_STOP_WAIT_S: Final = 10.0
_WARN_EVERY_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class ClientStats:
    """What a client did since it was made, or since its process was forked.

    `emitted` events got an id and were accepted; `delivered` ones the broker has acknowledged; `dropped` ones are
    lost, because the outbox was full and the policy says so. `failed_deliveries` counts tries that were repeated.
    `pending_bytes` includes the outbox's bookkeeping; for a signal's handler that interrupted the client it is 0.
    `recovered` events were found in the spools of processes that ended before they could send them. `damaged` ones
    were accepted and lost, because the disk did not give them back. `last_error` is None when the last delivery
    succeeded.
    """

    incarnation: str
    emitted: int
    delivered: int
    dropped: int
    failed_deliveries: int
    pending_events: int
    pending_bytes: int
    recovered: int
    damaged: int
    last_error: str | None


class UsageClient:
    """Sends the usage events of one source. Safe to use from many threads, and across fork.

    `source` names the producer, such as a server: (source, id) is an event's identity, and the source decides the
    Kafka partition. Ids are `<ULID>-<sequence>`; a forked child goes on under a ULID of its own with an empty outbox,
    and its parent keeps what the parent accepted. (A snapshot of a virtual machine can't be noticed: make the client
    after the restore.) Processes may share a source and a spool folder: each writes files of its own.

    `open_outbox` makes the outbox, once for each process, instead of what the settings tell; `connect` the Kafka
    producer, when there is a first event to send. Raises `EventRejected` for a source that the contract does not allow,
    `ClientSettingsError` for bad settings, also for a spool folder that can't be written.
    """

    def __init__(
        self,
        bootstrap: str,
        source: str,
        topic: str = DEFAULT_TOPIC,
        *,
        settings: ClientSettings | None = None,
        open_outbox: Callable[[], Outbox] | None = None,
        connect: Connect = connect,
    ) -> None:
        self.source = self._source = check_attribute("source", source)
        """The producer's name, as events carry it."""
        self._topic = topic
        self.settings = settings or ClientSettings()
        self._config = self.settings.librdkafka(bootstrap)
        self._connect = connect
        self._pack = packing(
            self.settings.batch, most_events=self.settings.batch_events, most_bytes=self.settings.batch_bytes
        )
        self._open_outbox = open_outbox or outbox_opener(self.settings, source, topic)
        self._append_wait_s = self.settings.when_full_wait_s if self.settings.when_full == "block" else 0.0
        self._closed = False
        if self.settings.kafka:
            # Without an address nothing is contacted: this only finds a misspelt option while somebody looks.
            connect({**self._config, "bootstrap.servers": ""})
        for model in EVENT_TYPES.values():
            model.model_rebuild()  # their validators are built lazily: now, and not in the first request
        self._begin()
        open_clients.remember(self)
        if self._outbox.has_orphans():
            with self._lock:
                self._start_sender()

    def _begin(self) -> None:
        """What a process has for itself; nothing of it survives a fork."""
        self._lock = threading.Lock()
        self._handed_over = threading.Condition(self._lock)
        self._handing_over = 0
        self._interruptions = Interruptions(self._accept_interrupting)
        self._incarnation = Incarnation()
        self._outbox = self._open_outbox()
        self._accounts: set[str] = set()
        self._sender: Sender | None = None
        self._emitted = 0
        self._dropped = 0
        self._warn_at = 0.0

    def emit(
        self,
        account: str,
        data: EventData,
        *,
        time: datetime | None = None,
        id: str | None = None,  # noqa: A002  (CloudEvents' name for it)
    ) -> str:
        """Accept one event of an account and return its id; it will be counted exactly once.

        `time` is when the work ended (now if not given; must have a time zone). `id` is for events that have one of
        their own, such as a resend: the same id is never counted twice.

        Raises `EventRejected` with the same reason and message that quarantine would give; `ClientClosedError` after
        `close`; `OutboxFullError` if the outbox is full and the setting `when_full` is `raise` or `block`.
        """
        if account not in self._accounts:
            self._check_account(account)
        if not isinstance(data, EventData) or data.TYPE not in EVENT_TYPES:
            raise EventRejected(
                Reason.WRONG_TYPE, "data", f"data must be an event of fleetmeter_schemas, not {type(data).__name__}"
            )
        time_us = clock.time_ns() // 1000 if time is None else micros_of(time)
        check_against_time(data, time_us)
        event_id = self._incarnation.next_id() if id is None else check_attribute("id", id)
        value = encode_event(data.TYPE, event_id, self._source, account, time_us, data.to_wire())
        if len(value) > self.settings.event_limit_bytes:
            raise EventRejected(
                Reason.TOO_LARGE,
                "",
                f"the event has {len(value)} bytes; at most {self.settings.event_limit_bytes} are allowed",
            )
        self._hand_over(value, event_id)
        return event_id

    def flush(self, timeout_s: float) -> Pending:
        """Wait until the broker has acknowledged everything emitted before this call, at most `timeout_s`.

        Returns what is still pending (0 events: all arrived, and nothing came after). It is not lost: the client goes
        on sending it. A signal's handler that interrupted this client's own work can't wait for that work: it gets what
        was pending, at once.
        """
        if self._interruptions:
            return self._pending_as_counted()
        with self._interruptions:
            return self._flush(timeout_s)

    def _flush(self, timeout_s: float) -> Pending:
        if self._sender is not None:
            self._sender.hurry()
            self._outbox.wait_drained(timeout_s)
        return self._outbox.pending()

    def close(self, timeout_s: float = 10.0) -> Pending:
        """Accept nothing more, drain for at most `timeout_s`, and stop the thread. Closing again does nothing more.

        Returns what the broker has not acknowledged. In the spool it waits for the next client of this source; with
        the outbox in memory it is lost.

        In a signal's handler, too. If that interrupted this client's own work, such as an `emit`, then the client is
        closed before that call returns or raises, and not yet when `close` does; it returns what was pending.
        """
        if self._interruptions:
            self._close_afterwards(timeout_s)
            return self._pending_as_counted()
        with self._interruptions:
            return self._close(timeout_s)

    def _close_afterwards(self, timeout_s: float) -> None:
        if self._sender is not None and self._sender.is_this_thread():
            # The thread that sends is inside as long as it lives, and closing waits for its end.
            threading.Thread(target=self.close, args=(timeout_s,), name="fleetmeter-close").start()
        else:
            self._interruptions.afterwards(partial(self.close, timeout_s))

    def _close(self, timeout_s: float) -> Pending:
        with self._lock:
            first, self._closed = not self._closed, True
            # Whoever was let in before us may still be waiting for room; its event must not miss the drain.
            self._handed_over.wait_for(lambda: not self._handing_over)
        if not first:
            return self._outbox.pending()
        open_clients.forget(self)
        self._interruptions.accept_all()
        self._flush(timeout_s)
        stopped = self._sender is None or self._sender.stop(_STOP_WAIT_S)
        left = self._outbox.pending()
        if left.events:
            _logger.error(
                "closing the client of %s: the broker has not acknowledged %d events (%d bytes), which %s; "
                "last error: %s",
                self._source,
                left.events,
                left.bytes,
                "wait in the spool" if self.settings.outbox == "spool" else "are lost",
                self.stats().last_error,
            )
        if stopped:
            self._outbox.close()
        return left

    async def aclose(self, timeout_s: float = 10.0) -> Pending:
        """`close` for coroutines: waits in a thread, while the event loop goes on. (`emit` needs no such thing: it does
        not wait, unless `when_full` is `block`.)"""
        import asyncio  # noqa: PLC0415  (whoever awaits this has it; others need not load it)

        return await asyncio.to_thread(self.close, timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def stats(self) -> ClientStats:
        """Counters for metrics; cheap."""
        if self._interruptions:
            sender, pending = self._sender, self._pending_as_counted()
        else:
            with self._interruptions:
                sender, pending = self._sender, self._outbox.pending()
        return ClientStats(
            incarnation=self._incarnation.ulid,
            emitted=self._emitted,
            delivered=sender.delivered if sender else 0,
            dropped=self._dropped,
            failed_deliveries=sender.failed_deliveries if sender else 0,
            pending_events=pending.events,
            pending_bytes=pending.bytes,
            recovered=self._outbox.recovered,
            damaged=self._outbox.damaged,
            last_error=sender.last_error if sender else None,
        )

    def _pending_as_counted(self) -> Pending:
        """What is pending, without waiting for a lock; its bytes are not known then, and 0."""
        delivered = self._sender.delivered if self._sender else 0
        return Pending(max(0, self._emitted + self._outbox.recovered - delivered), 0)

    def _check_account(self, account: str) -> None:
        check_attribute("subject", account)
        if len(self._accounts) < _ACCOUNTS_REMEMBERED:
            self._accounts.add(account)

    def _hand_over(self, value: bytes, event_id: str) -> None:
        if self._interruptions:
            if self._closed:
                raise self._closed_error()
            self._interruptions.put_aside(value)
            return
        with self._interruptions:
            if not self._accept(value):
                self._refuse(event_id)

    def _accept(self, value: bytes) -> bool:
        with self._lock:
            if self._closed:
                raise self._closed_error()
            if self._sender is None:
                self._start_sender()
            self._handing_over += 1
        accepted = False
        try:
            accepted = self._outbox.append(value, self._append_wait_s)
        finally:
            with self._lock:
                self._emitted += accepted
                self._handing_over -= 1
                if self._closed:
                    self._handed_over.notify_all()
        return accepted

    def _accept_interrupting(self, value: bytes) -> None:
        """Accept an event that was emitted in the middle of something; its caller has its id, and can't wait."""
        accepted = self._outbox.append(value, 0.0)
        with self._lock:
            if self._sender is None:
                self._start_sender()
            self._emitted += accepted
        if not accepted:
            self._drop()

    def _closed_error(self) -> ClientClosedError:
        return ClientClosedError(f"the client of {self._source} is closed; make a new one to emit more")

    def _start_sender(self) -> None:
        # At the first event, not before: a server that forks its workers after loading has no thread to lose.
        sender = Sender(
            self._outbox,
            self._topic,
            self._source.encode(),
            self._config,
            connect=self._connect,
            retry_wait_s=self.settings.retry_wait_s,
            retry_wait_limit_s=self.settings.retry_wait_limit_s,
            pack=self._pack,
            inside=self._interruptions,
            first=self._interruptions.accept_all,
        )
        try:
            sender.start()
        except RuntimeError as error:
            # No more threads, or the interpreter is ending. The next event tries again; this one is kept all the same.
            self._say_unsent(error)
            return
        self._sender = sender
        open_clients.close_with_worker_process()

    def _say_unsent(self, error: RuntimeError) -> None:
        now = clock.monotonic()
        if now >= self._warn_at:
            self._warn_at = now + _WARN_EVERY_S
            _logger.error(
                "the thread that sends the events of %s can't be started, and they wait: %s", self._source, error
            )

    def _refuse(self, event_id: str) -> None:
        if self.settings.when_full == "drop_newest":
            self._drop()
            return
        raise OutboxFullError(
            f"{self._problem()}; event {event_id} was not accepted. Emit it again later with this id."
        )

    def _drop(self) -> None:
        with self._lock:
            self._dropped += 1
            now = clock.monotonic()
            warn, self._warn_at = now >= self._warn_at, max(self._warn_at, now)
            if warn:
                self._warn_at = now + _WARN_EVERY_S
        if warn:
            _logger.error("%s; new events are dropped, %d so far", self._problem(), self._dropped)

    def _problem(self) -> str:
        """Why an event could not be kept."""
        pending = self._outbox.pending()
        return self._outbox.trouble or (
            f"the outbox of {self._source} is full: {pending.events} events ({pending.bytes} bytes) wait for Kafka "
            f"({self._sender.last_error if self._sender and self._sender.last_error else 'which is too slow'})"
        )

    def close_at_exit(self) -> None:
        """`close`, when the process ends without having called it: waits for `exit_drain_s`."""
        self.close(self.settings.exit_drain_s)

    def begin_after_fork(self) -> None:
        """Begin anew in a forked child, which happens by itself; what the parent accepted the parent sends."""
        outbox, sender = self._outbox, self._sender
        self._begin()
        if sender is not None:
            sender.abandon()
        outbox.abandon()
