"""What becomes of requests between workers and ClickHouse."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from random import Random
from typing import Any, Final

from fleetmeter_chaos.faults.fault import Fault, Scene
from fleetmeter_chaos.http_message import Kind
from fleetmeter_chaos.proxy import Action, Rule

_ERRORS: Final = (
    "159 TIMEOUT_EXCEEDED",
    "202 TOO_MANY_SIMULTANEOUS_QUERIES",
    "210 NETWORK_ERROR",
    "236 ABORTED",
    "241 MEMORY_LIMIT_EXCEEDED",
    "242 TABLE_IS_READ_ONLY",
    "243 NOT_ENOUGH_SPACE",
    "252 TOO_MANY_PARTS",
    "999 KEEPER_EXCEPTION",
)
_COMMITS: Final = frozenset[Kind]({"commit"})
_WRITES: Final = frozenset[Kind]({"commit", "side_rows"})
_ALL: Final = frozenset[Kind]({"commit", "side_rows", "read", "other"})


def _to_requests(action: Action, fault: str, kinds: frozenset[Kind]) -> Any:
    def inject(scene: Scene, times: int, skip: int, delay_s: float, code: str) -> None:
        scene.proxy.add(Rule(action, kinds, fault, times=times, skip=skip, delay_s=delay_s, code=code))

    return inject


def _draw(longest_s: float = 0.0, most: int = 3) -> Any:
    def draw(rng: Random) -> Mapping[str, Any]:
        return {
            "times": rng.randint(1, most),
            "skip": rng.choice((0, 0, 1, 3, 6)),
            "delay_s": rng.uniform(longest_s / 10, longest_s),
            "code": rng.choice(_ERRORS),
        }

    return draw


def _refuse_all(scene: Scene, seconds: float) -> None:
    rule = Rule("refuse", _ALL, "ClickHouse refuses", times=10**9)
    scene.proxy.add(rule)
    scene.later(seconds, lambda: scene.proxy.remove(rule))


def _kill_clickhouse_during_insert(scene: Scene, skip: int, delay_s: float) -> None:
    def blow(_worker: str) -> None:
        scene.story.tell("ClickHouse", "is killed during an insert")
        scene.engines.clickhouse.kill()

    scene.proxy.add(Rule("strike", _COMMITS, "ClickHouse killed during insert", skip=skip, delay_s=delay_s, blow=blow))


def _kill_worker_during_insert(scene: Scene, skip: int, delay_s: float) -> None:
    def blow(name: str) -> None:
        for worker in scene.running():
            if worker.name == name:
                scene.story.tell(name, "is killed during its insert")
                scene.signal(worker, signal.SIGKILL)

    scene.proxy.add(Rule("strike", _COMMITS, "worker killed during insert", skip=skip, delay_s=delay_s, blow=blow))


def _draw_strike(rng: Random) -> Mapping[str, Any]:
    return {"skip": rng.choice((0, 1, 2, 5)), "delay_s": rng.uniform(0, 0.03)}


NETWORK_FAULTS: Final = {
    "refuse": Fault(1, lambda rng: {"seconds": rng.uniform(0.1, 1.5)}, _refuse_all),
    "err": Fault(1, _draw(), _to_requests("err", "ClickHouse answers an error", _ALL)),
    "slow": Fault(1, _draw(1.0), _to_requests("slow", "ClickHouse slow", _ALL)),
    "lose answer": Fault(2, _draw(), _to_requests("lose_answer", "answer lost after the insert", _WRITES)),
    "hang up": Fault(2, _draw(), _to_requests("leave_while_it_runs", "retried while the insert runs", _COMMITS)),
    "deliver late": Fault(2, _draw(3.0, 2), _to_requests("deliver_late", "insert delivered late", _COMMITS)),
    "replay": Fault(1, _draw(3.0), _to_requests("replay", "insert delivered again, late", _WRITES)),
    "twin": Fault(1, _draw(), _to_requests("twin", "insert delivered twice at once", _WRITES)),
    "cut request": Fault(1, _draw(), _to_requests("cut_request", "request cut in half", _WRITES)),
    "cut answer": Fault(1, _draw(), _to_requests("cut_answer", "answer cut in half", _ALL)),
    "kill ClickHouse in insert": Fault(1.5, _draw_strike, _kill_clickhouse_during_insert),
    "kill worker in insert": Fault(1.5, _draw_strike, _kill_worker_during_insert),
}
