"""ClickHouse's own weak moment: a token that is logged, and a part that is not renamed into place.

The rename fails (a full disk), or ClickHouse dies in it; or the insert hangs between guard and token while its worker,
or a rival, tries again.
"""

from __future__ import annotations

import signal
import threading
from typing import Final

from fleetmeter_doubles.tampered_parts import MKDIRS, RENAMES, TamperedParts, TamperingError

from fleetmeter_chaos.faults.fault import Fault, Scene
from fleetmeter_chaos.http_message import Kind
from fleetmeter_chaos.proxy import Rule

_POLL_S: Final = 0.02
_BLOCKS: Final = range(1, 300)
"""More inserts than a schedule has commits."""


def _tampered(scene: Scene, calls: str, action: str, fault: str) -> TamperedParts | None:
    """None, and a word in the story, where that can't be done."""
    try:
        return TamperedParts(
            scene.ledger_folder(),
            scene.engines.clickhouse.pid,
            calls,
            action,
            scene.scratch_file("strace"),
            scene.table_partitions(),
            _BLOCKS,
        )
    except TamperingError as error:
        scene.story.tell("campaign", f"no {fault}: {error}")
        return None


def _until_hit(scene: Scene, parts: TamperedParts, seconds: float, fault: str, hits: int = 1) -> bool:
    """Whether it struck at all. Returns after so many times, or when the time is over."""
    over = threading.Event()
    waited = 0.0
    while parts.hits < hits and waited < seconds and not scene.healing():
        over.wait(_POLL_S)
        waited += _POLL_S
    if parts.hits:
        scene.story.tell("ClickHouse", f"{fault} ({parts.hits} times)", fault)
    return parts.hits > 0


def _no_space(scene: Scene, seconds: float, hits: int) -> None:
    def run() -> None:
        fault = "ghost: no space at the rename"
        if (parts := _tampered(scene, RENAMES, "error=ENOSPC", fault)) is not None:
            try:
                _until_hit(scene, parts, seconds, fault, hits)
            finally:
                parts.stop()

    scene.aside(run)


def _dies_at_rename(scene: Scene, seconds: float) -> None:
    def run() -> None:
        fault = "ghost: killed at the rename"
        if (parts := _tampered(scene, RENAMES, "signal=SIGKILL:error=EIO", fault)) is not None:
            try:
                _until_hit(scene, parts, seconds, fault)
            finally:
                parts.stop()

    scene.aside(run)


def _stuck(scene: Scene, seconds: float) -> None:
    """The insert has passed its guard and hangs; its worker's connection is cut, so that it tries again meanwhile."""

    def run() -> None:
        fault = "retried while the insert hangs behind its guard"
        hang_us = int(seconds * 1e6)
        if (parts := _tampered(scene, MKDIRS, f"delay_enter={hang_us}:when=1", fault)) is None:
            return
        rule = Rule("leave_while_it_runs", frozenset[Kind]({"commit"}), "retried while the insert runs", times=2)
        scene.proxy.add(rule)
        try:
            _until_hit(scene, parts, seconds + 1.0, fault)
        finally:
            scene.proxy.remove(rule)
            parts.stop()

    scene.aside(run)


def _rivals(scene: Scene, seconds: float) -> None:
    """Every insert becomes a ghost for a while. Workers hang at their first attempt, others come and raise it; then the
    first ones wake, with requests of their own still open."""

    def run() -> None:
        fault = "rivals at different attempts"
        if (parts := _tampered(scene, RENAMES, "error=ENOSPC", fault)) is None:
            return
        try:
            if not _until_hit(scene, parts, 2.0, "ghost: no space at the rename"):
                return
            for worker in scene.running():
                scene.story.tell(worker.name, "is stopped at its ghost", fault)
                scene.signal(worker, signal.SIGSTOP)
            scene.start_worker()
            before = parts.hits
            _until_hit(scene, parts, seconds, "ghost: no space at the rename", before + 2)
        finally:
            parts.stop()

    scene.aside(run)


RENAME_FAULTS: Final = {
    "no space at rename": Fault(1.2, lambda rng: {"seconds": 2.0, "hits": rng.randint(1, 3)}, _no_space),
    "killed at rename": Fault(0.8, lambda _: {"seconds": 2.0}, _dies_at_rename),
    "insert hangs": Fault(0.8, lambda rng: {"seconds": rng.uniform(0.5, 2.0)}, _stuck),
    "rivals": Fault(0.8, lambda rng: {"seconds": rng.uniform(2.0, 3.5)}, _rivals),
}
