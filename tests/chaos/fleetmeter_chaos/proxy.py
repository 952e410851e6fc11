"""What stands between each worker and ClickHouse: passes requests on, or does to one what a bad network would do.

Every worker has an address of its own here, so that a fault can meet one and spare its rivals. A `Rule` says what
happens to which of the next requests.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from fleetmeter_chaos.http_message import Kind, Message, ask, exception_answer, read_message
from fleetmeter_chaos.story import Story

Action = Literal[
    "refuse",
    "err",
    "slow",
    "lose_answer",
    "leave_while_it_runs",
    "deliver_late",
    "replay",
    "twin",
    "cut_request",
    "cut_answer",
    "strike",
]
_HEAD_LIMIT: Final = 1 << 20
_BROKEN: Final = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)
_TURNS_TO_ACCEPT: Final = 5
"""Of the loop: from a socket that can be accepted to the task that serves it, with room to spare."""


@dataclass(slots=True)
class Rule:
    """What happens to the next `times` requests of `kinds` (after `skip` of them), by `worker` or by any.

    refuse        the connection is closed before anything is passed on
    err           ClickHouse's answer for the error `code` ("241 MEMORY_LIMIT_EXCEEDED"), and nothing is passed on
    slow          passed on after `delay_s`
    lose_answer   passed on; when the answer is there, the connection is closed instead
    leave_while_it_runs  passed on, and the worker's connection closed at once
    deliver_late  the worker's connection is closed at once; what it sent is passed on after `delay_s`
    replay        passed on and answered; passed on once more after `delay_s`
    twin          passed on twice at the same moment
    cut_request   half of it is passed on, then both connections are closed
    cut_answer    half of the answer comes back
    strike        passed on, and `blow` falls `delay_s` later, answered or not
    """

    action: Action
    kinds: frozenset[Kind]
    fault: str
    times: int = 1
    skip: int = 0
    delay_s: float = 0.0
    code: str = ""
    worker: str = ""
    blow: Callable[[str], None] | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def takes(self, worker: str, kind: Kind) -> bool:
        """Whether this request is one of those; counts it."""
        if self.times <= 0 or kind not in self.kinds or (self.worker and worker != self.worker):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.times -= 1
        if not self.times:
            self.done.set()
        return True


class Proxy:
    """All listeners of one schedule. Its methods may be called from any thread; its own runs an event loop."""

    def __init__(self, host: str, port: int, story: Story) -> None:
        self._host, self._port, self._story = host, port, story
        self.committing = threading.Event()
        """Set with the first commit of any worker."""
        self._rules: list[Rule] = []
        self._late: set[asyncio.Task[None]] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._hurry = asyncio.Event()
        self._servers: list[asyncio.Server] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()

    def listen(self, worker: str) -> int:
        """A port for a worker."""

        # asyncio's own task for a connection complains when it is cancelled before it began.
        def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = self._loop.create_task(self._serve(worker, reader, writer))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

        async def start() -> int:
            server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=_HEAD_LIMIT)
            self._servers.append(server)
            return int(server.sockets[0].getsockname()[1])

        port: int = self._wait_for(start())
        return port

    def add(self, rule: Rule) -> None:
        """From now on."""
        self._loop.call_soon_threadsafe(self._rules.append, rule)

    def remove(self, rule: Rule) -> None:
        """From now on no more."""

        def forget() -> None:
            if rule in self._rules:
                self._rules.remove(rule)

        self._loop.call_soon_threadsafe(forget)

    def heal(self) -> None:
        """No more faults, and what is late is delivered now. Returns when ClickHouse has answered it."""

        async def deliver() -> None:
            self._rules.clear()
            self._hurry.set()
            if self._late:
                await asyncio.wait(list(self._late))

        self._wait_for(deliver())

    def close(self) -> None:
        """End everything."""

        async def end() -> None:
            for server in self._servers:
                server.close()
            # A connection that was accepted just before gets its task only some turns of the loop later.
            turns = 0
            while turns < _TURNS_TO_ACCEPT:
                await asyncio.sleep(0)
                others = asyncio.all_tasks() - {asyncio.current_task()}
                turns = 0 if others else turns + 1
                for task in others:
                    task.cancel()
                await asyncio.gather(*others, return_exceptions=True)

        self._wait_for(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        if not self._thread.is_alive():
            self._loop.close()

    def _wait_for(self, work: Coroutine[Any, Any, Any]) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(60)

    async def _serve(self, worker: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await read_message(reader)) is not None:
                answer = await self._answer(worker, request, writer)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
        except (*_BROKEN, asyncio.CancelledError):
            pass  # the worker has gone, or ClickHouse has, or all ends: to the other side each is a lost connection
        finally:
            writer.close()

    async def _answer(self, worker: str, request: Message, writer: asyncio.StreamWriter) -> bytes | None:
        """The answer to give; None to close the connection without one."""
        kind = request.kind
        if kind == "commit" and not request.token.rpartition("#")[0].endswith("@init"):
            self.committing.set()
        rule = next((rule for rule in self._rules if rule.takes(worker, kind)), None)
        if rule is None:
            return await ask(self._host, self._port, request.raw)
        what = request.token or f"a request ({kind})"
        self._story.tell("network", f"{rule.fault}: {what} of {worker}", rule.fault)
        match rule.action:
            case "refuse":
                return None
            case "err":
                number, _, name = rule.code.partition(" ")
                return exception_answer(int(number), name)
            case "slow":
                await self._pause(rule.delay_s)
                return await ask(self._host, self._port, request.raw)
            case "lose_answer":
                await ask(self._host, self._port, request.raw)
                return None
            case "leave_while_it_runs":
                self._deliver(request, 0.0, what)
                return None
            case "deliver_late":
                self._deliver(request, rule.delay_s, what)
                return None
            case "replay":
                answer = await ask(self._host, self._port, request.raw)
                self._deliver(request, rule.delay_s, what)
                return answer
            case "twin":
                self._deliver(request, 0.0, what)
                return await ask(self._host, self._port, request.raw)
            case "cut_request":
                await self._send_half(request)
                return None
            case "cut_answer":
                answer = await ask(self._host, self._port, request.raw)
                writer.write(answer[: len(answer) // 2])
                await writer.drain()
                return None
            case "strike":
                if rule.blow is not None:
                    self._loop.call_later(rule.delay_s, rule.blow, worker)
                return await ask(self._host, self._port, request.raw)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._hurry.wait(), seconds)
        except TimeoutError:
            return

    def _deliver(self, request: Message, after_s: float, what: str) -> None:
        async def deliver() -> None:
            if after_s:
                await self._pause(after_s)
                self._story.tell("network", f"now delivers {what}")
            try:
                answer = await ask(self._host, self._port, request.raw)
            except _BROKEN as error:
                self._story.tell("network", f"{what} found no ClickHouse: {error}")
            else:
                status = answer.split(b"\r\n", 1)[0].decode()
                self._story.tell("network", f"nobody waits for the answer to {what}: {status}")

        task = self._loop.create_task(deliver())
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _send_half(self, request: Message) -> None:
        _, writer = await asyncio.open_connection(self._host, self._port)
        writer.write(request.raw[: len(request.head) + len(request.body) // 2])
        await writer.drain()
        writer.close()
