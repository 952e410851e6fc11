"""Many schedules on a few lanes, each lane with engines of its own; what came of them is kept, to go on from later."""

from __future__ import annotations

import json
import os
import queue
import shutil
import tempfile
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fleetmeter_chaos.engines import Engines
from fleetmeter_chaos.log_reading import LogReader
from fleetmeter_chaos.plan import draw_plan
from fleetmeter_chaos.schedule import Outcome, Schedule
from fleetmeter_chaos.workers import ForkClient


@dataclass(slots=True)
class Tally:
    """What came of the schedules so far."""

    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def failed(self) -> list[Outcome]:
        """Those with problems, by seed."""
        return sorted((one for one in self.outcomes if one.problems), key=lambda one: one.seed)

    def injected(self) -> Counter[str]:
        """How often each fault was injected."""
        return sum((Counter(one.faults) for one in self.outcomes), Counter())

    def survived(self) -> Counter[str]:
        """How often in schedules that ended well."""
        return sum((Counter(one.faults) for one in self.outcomes if not one.problems), Counter())

    def bad_input(self) -> Counter[str]:
        """How much of what was in the logs beside good events."""
        return sum((Counter(one.bad_input) for one in self.outcomes), Counter())

    def effects(self) -> Counter[str]:
        """How often the pipeline did what about it."""
        return sum((Counter(one.effects) for one in self.outcomes), Counter())

    def schedules_with_effect(self) -> Counter[str]:
        """In how many schedules."""
        return Counter(effect for one in self.outcomes for effect in one.effects)

    def schedules_with(self) -> Counter[str]:
        """In how many schedules."""
        return Counter(fault for one in self.outcomes for fault in one.faults)


class StateFile:
    """Outcomes, one a line, appended as they come: a campaign that was ended goes on from here."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> list[Outcome]:
        """Those of earlier runs; a last line that was torn by a crash is left out."""
        if not self.path.exists():
            return []
        outcomes = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                outcomes.append(Outcome(**json.loads(line)))
            except json.JSONDecodeError:
                continue
        return outcomes

    def add(self, outcome: Outcome) -> None:
        """Keep one more."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - 1, 0))
            torn = file.read(1) not in (b"", b"\n")
            file.write(b"\n" * torn + json.dumps(asdict(outcome)).encode() + b"\n")


class Campaign:
    """Runs the schedules of the given seeds. `folder` keeps the state and whatever belongs to failed
    schedules; to all of them, with `keep`."""

    def __init__(
        self, folder: Path, seeds: Sequence[int], *, jobs: int, mutation: str = "", keep: bool = False
    ) -> None:
        self.folder, self.mutation, self._keep = folder, mutation, keep
        self.state = StateFile(folder / "state.jsonl")
        self._seeds: queue.SimpleQueue[int] = queue.SimpleQueue()
        for seed in seeds:
            self._seeds.put(seed)
        self._lanes = min(jobs, max(len(seeds), 1))
        self._stop = threading.Event()
        self._running: set[Schedule] = set()
        self._outcomes: queue.SimpleQueue[Outcome | BaseException | None] = queue.SimpleQueue()

    def failed_folder(self, seed: int) -> Path:
        """Where the story and the logs of a failed schedule are."""
        return self.folder / "failed" / str(seed)

    def outcomes(self) -> Generator[Outcome]:
        """Each as it comes. Leaving the loop early ends the campaign."""
        with tempfile.TemporaryDirectory(prefix="fleetmeter-chaos-") as scratch:
            threads = [
                threading.Thread(target=self._lane, args=(Path(scratch) / f"lane-{number}",), name=f"lane-{number}")
                for number in range(self._lanes)
            ]
            for thread in threads:
                thread.start()
            try:
                yield from self._until_all_ended(len(threads))
            finally:
                self.stop()
                for thread in threads:
                    thread.join()

    def stop(self) -> None:
        """End what runs, and begin nothing more."""
        self._stop.set()
        for schedule in list(self._running):
            schedule.stage.interrupted.set()

    def _until_all_ended(self, lanes: int) -> Iterator[Outcome]:
        while lanes:
            try:
                came = self._outcomes.get(timeout=0.2)  # a time-out, so that Ctrl-C is heard
            except queue.Empty:
                continue
            if came is None:
                lanes -= 1
            elif isinstance(came, BaseException):
                raise came
            else:
                self.state.add(came)
                yield came

    def _lane(self, folder: Path) -> None:
        try:
            with _parts(folder) as run:
                while not self._stop.is_set():
                    try:
                        seed = self._seeds.get_nowait()
                    except queue.Empty:
                        break
                    self._run_one(seed, run, folder / str(seed))
        except BaseException as error:  # noqa: BLE001  (raised again in the campaign's own thread)
            self._outcomes.put(error)
        self._outcomes.put(None)

    def _run_one(self, seed: int, make: Callable[..., Schedule], folder: Path) -> None:
        schedule = make(draw_plan(seed), folder, self.mutation)
        self._running.add(schedule)
        try:
            if self._stop.is_set():
                return
            outcome = schedule.run()
        except Exception:  # noqa: BLE001  (a defect of the campaign must not pass for a schedule that ended well)
            schedule.stage.story.tell("campaign", traceback.format_exc())
            problem = f"the campaign itself failed: {traceback.format_exc().splitlines()[-1]}"
            outcome = Outcome(seed, [problem], dict(schedule.stage.story.faults()), 0.0, 0, 0)
        finally:
            self._running.discard(schedule)
        if schedule.stage.interrupted.is_set():
            return
        if outcome.problems:
            _copy(folder, self.failed_folder(seed))
        elif self._keep:
            _copy(folder, self.folder / "survived" / str(seed))
        shutil.rmtree(folder, ignore_errors=True)
        self._outcomes.put(outcome)


def _copy(folder: Path, to: Path) -> None:
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(folder, to)


@contextmanager
def _parts(folder: Path) -> Iterator[Callable[..., Schedule]]:
    """A lane's engines, fork server and log reader, as a maker of schedules that use them."""
    with ExitStack() as stack:
        engines = stack.enter_context(Engines(folder / "engines"))
        forks = ForkClient(folder)
        stack.callback(forks.close)
        reader = LogReader(engines.bootstrap)
        stack.callback(reader.close)
        yield lambda plan, place, mutation: Schedule(plan, engines, forks, reader, place, mutation)
