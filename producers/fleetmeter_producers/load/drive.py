"""One producer under load: emits at its rate, and keeps the time of each call.

It is an open loop: what is due is emitted whether or not the client keeps up, so a producer that was held up emits the
more afterwards. What a slow machine does not get done within the duration is missing from the achieved rate.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Final

from fleetmeter_schemas.events import GenerationV1

from fleetmeter_producers.client import UsageClient
from fleetmeter_producers.load.latencies import Latencies
from fleetmeter_producers.load.report import Driven, Progress

_TELL_EVERY_S: Final = 0.5
_LOOK_EVERY: Final = 200  # events; then the clock and whoever may stop it are asked
_LONGEST_PAUSE_S: Final = 0.05
_SHORTEST_PAUSE_S: Final = 0.001
_ACCOUNTS: Final = 20
_MODELS: Final = (("llada-8b-instruct", "low_confidence"), ("dream-7b-instruct", "adaptive_parallel"))


def drive(
    client: UsageClient,
    events_per_s: float,
    duration_s: float,
    *,
    drain_s: float,
    tell: Callable[[Progress], None],
    stopped: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Driven:
    """Emit for `duration_s`, or until `stopped`; then close the client, draining it for at most `drain_s`."""
    latencies, events = Latencies(), usage()
    emitted, most_waiting, tell_at = 0, 0, _TELL_EVERY_S
    total = round(events_per_s * duration_s)
    began = clock()
    while emitted < total and (passed := clock() - began) < duration_s and not stopped():
        due = min(total, int(passed * events_per_s) + 1)
        for _ in range(min(due - emitted, _LOOK_EVERY)):
            account, data = next(events)
            start = time.perf_counter_ns()
            client.emit(account, data)
            latencies.add(time.perf_counter_ns() - start)
            emitted += 1
        if passed >= tell_at:
            now = progress_of(client, passed)
            most_waiting = max(most_waiting, now.waiting)
            tell(now)
            tell_at = passed + _TELL_EVERY_S
        if emitted >= due:
            ahead_s = emitted / events_per_s - (clock() - began)
            pause(min(_LONGEST_PAUSE_S, max(_SHORTEST_PAUSE_S, ahead_s)))
    # The last event opens an interval of its own: 1,000 at 1,000/s take a second, and not 999 ms.
    ended = progress_of(client, max(clock() - began, min(duration_s, emitted / events_per_s)))
    tell(ended)
    client.close(drain_s)
    return Driven(
        ended, progress_of(client, clock() - began), max(most_waiting, ended.waiting), tuple(latencies.counts)
    )


def progress_of(client: UsageClient, seconds: float) -> Progress:
    """How far a client is."""
    stats = client.stats()
    return Progress(
        seconds,
        stats.emitted,
        stats.delivered,
        stats.dropped,
        stats.pending_events,
        stats.failed_deliveries,
        stats.last_error,
    )


def usage() -> Iterator[tuple[str, GenerationV1]]:
    """Made-up generations of a few accounts, the same again and again: making them must not take the time."""
    bodies = [
        GenerationV1(
            model=model,
            provider="fleetmeter-load",
            generation_mode="diffusion",
            decoding_strategy=strategy,
            region="load",
            status="ok",
            finish_reason="stop",
            usage_fidelity="measured",
            input_tokens=200 + 37 * number,
            output_tokens=64 + 11 * number,
            denoising_steps=10 + number,
            max_denoising_steps=48,
            function_evaluations=10 + number,
            blocks=2,
            gpu_ms=100 + 9 * number,
            latency_ms=120 + 9 * number,
        )
        for number, (model, strategy) in itertools.product(range(16), _MODELS)
    ]
    accounts = [f"load-{number:02}" for number in range(_ACCOUNTS)]
    return zip(itertools.cycle(accounts), itertools.cycle(bodies), strict=False)
