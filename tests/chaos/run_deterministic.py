"""`make chaos-deterministic`: tens of thousands of interleavings of the real commit and processor code in one process,
under virtual time, with Kafka and the ledger in memory. Needs no engine, and no network.

Each schedule follows from its seed alone. One that breaks a promise is shrunk to its least story, and printed with its
seed and as Python: under a name in `fleetmeter_deterministic/stories.py` it is replayed by the tests from then on.
Exit codes: 0 all promises were kept, 1 some were not (with --mutate: nothing noticed the mutation), 130 interrupted.

Examples:
  python tests/chaos/run_deterministic.py --schedules 20000 --seed s --jobs 2
  python tests/chaos/run_deterministic.py --only s/4711
  python tests/chaos/run_deterministic.py --mutate guard
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import sys
import time
from collections import Counter
from contextlib import closing, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

# A script has its own folder on the path, but not its neighbours, which pytest would put there.
sys.path.append(str(Path(__file__).resolve().parent.parent / "doubles"))

from fleetmeter_deterministic.campaign import Failure, Summary, caught, drawn, least, play, run
from fleetmeter_deterministic.mutations import MUTATIONS
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

EXIT_INTERRUPTED = 130
AGAIN = "python tests/chaos/run_deterministic.py --only"


def main(arguments: list[str]) -> int:
    """Run what is asked for; the exit code."""
    options = _options(arguments)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job must be interruptible, too
        signal.signal(signal.SIGINT, signal.default_int_handler)
    console = Console(stderr=options.json)
    if not console.is_terminal:
        console = Console(stderr=options.json, width=140)
    if options.only:
        return _one(console, options)
    if options.mutate:
        return _mutated(console, options)
    return _campaign(console, options)


def _campaign(console: Console, options: argparse.Namespace) -> int:
    seed = options.seed or secrets.token_hex(4)
    state = StateFile(options.folder / "deterministic.json", seed)
    summary, seconds = state.load() if options.resume else (Summary(), 0.0)
    left = max(options.schedules - summary.schedules, 0)
    console.print(f"{left:,} schedules from {seed}/{summary.schedules}, {options.jobs} at a time")
    began, before, interrupted = time.monotonic(), seconds, False
    campaign = run(seed, left, first=summary.schedules, jobs=options.jobs)
    with _progress(console) as bar, closing(campaign):
        task = bar.add_task("Schedules", total=options.schedules, completed=summary.schedules, failed=0)
        try:
            for some in campaign:
                for failure in some.failures:
                    _show(bar.console, failure)
                summary.add(some)
                seconds = before + time.monotonic() - began
                state.save(summary, seconds)
                bar.update(task, completed=summary.schedules, failed=len(summary.failures))
        except KeyboardInterrupt:
            interrupted = True
            bar.console.print(f"Interrupted. Go on later with --resume --seed {seed}")
    console.print(_table(summary, seconds))
    if options.json:
        sys.stdout.write(json.dumps(_document(seed, summary, seconds), indent=2) + "\n")
    return EXIT_INTERRUPTED if interrupted else int(bool(summary.failures))


def _one(console: Console, options: argparse.Namespace) -> int:
    """Play one schedule, and tell its whole story if it is kept, its least one if it breaks."""
    mutation = MUTATIONS.get(options.mutate)
    with mutation.patch() if mutation else nullcontext():
        played = play(drawn(options.only, mutation))
        failure = least(options.only, mutation) if played.broken is not None else None
    if failure is not None:
        _show(console, failure)
    else:
        console.print(Text("\n".join(played.story)))
    if options.json:
        document = {"broken": played.broken, "story": played.story, "failure": asdict(failure) if failure else None}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    return int(failure is not None)


def _mutated(console: Console, options: argparse.Namespace) -> int:
    mutation, seed = MUTATIONS[options.mutate], options.seed or secrets.token_hex(4)
    console.print(f"Taken out: {mutation.without}. Schedules from {seed}/0")
    found = caught(mutation, seed, options.schedules)
    if options.json:
        sys.stdout.write(json.dumps({"mutation": mutation.name, "seed": seed, "caught": found}, indent=2) + "\n")
    if found is None:
        console.print(f"{options.schedules:,} schedules passed although it is out.")
        return 1
    with mutation.patch():
        _show(console, least(found, mutation), " --mutate " + mutation.name)
    console.print("So it was noticed, as it must be.")
    return 0


class StateFile:
    """What a campaign has seen so far, for `--resume`."""

    def __init__(self, path: Path, seed: str) -> None:
        self._path, self._seed = path, seed

    def load(self) -> tuple[Summary, float]:
        """The summary, and the seconds that it took. Ends the command if it is of another seed, or not there."""
        if not self._path.exists():
            sys.exit(f"{self._path} is not there: nothing to resume. Leave out --resume to begin.")
        found = json.loads(self._path.read_text())
        if found["seed"] != self._seed:
            sys.exit(f"{self._path} is of seed {found['seed']}, not {self._seed}. Resume with --seed {found['seed']}.")
        failures = [Failure(**{**one, "story": tuple(one["story"])}) for one in found["failed"]]
        counters = Counter(found["faults"]), Counter(found["schedules_with"])
        return Summary(found["schedules"], found["commits"], *counters, failures), found["seconds"]

    def save(self, summary: Summary, seconds: float) -> None:
        """Replace the file at once."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        written = self._path.with_suffix(".new")
        written.write_text(json.dumps(_document(self._seed, summary, seconds)))
        written.replace(self._path)


def _document(seed: str, summary: Summary, seconds: float) -> dict[str, Any]:
    return {
        "seed": seed,
        "schedules": summary.schedules,
        "commits": summary.commits,
        "seconds": round(seconds, 3),
        "faults": dict(summary.tally),
        "schedules_with": dict(summary.with_it),
        "failed": [asdict(failure) for failure in summary.failures],
    }


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]} failed"),
        console=console,
    )


def _table(summary: Summary, seconds: float) -> Table:
    rate = summary.schedules / seconds if seconds else 0.0
    title = (
        f"{summary.schedules:,} schedules, {summary.commits:,} commits, {len(summary.failures)} failed; "
        f"{seconds:,.0f} s, {rate:,.0f} schedules/s"
    )
    table = Table("what happened", title=title, title_style="bold red" if summary.failures else "bold")
    table.add_column("schedules with it", justify="right")
    table.add_column("times", justify="right")
    for name, times in sorted(summary.tally.items()):
        table.add_row(name, f"{summary.with_it[name]:,}", f"{times:,}")
    return table


def _show(console: Console, failure: Failure, options: str = "") -> None:
    console.print(Text(f"Schedule {failure.seed}: {failure.broken}", "bold red"))
    console.print(Text("\n".join(failure.story)))
    console.print(Text(f"Again: {AGAIN} {failure.seed}{options}. As a story to be replayed by the tests:"))
    console.print(Text(failure.schedule))


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schedules", type=int, default=2000, help="how many (default 2000)")
    parser.add_argument("--seed", help="any text; a new one, printed, if not given")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)")
    parser.add_argument("--folder", type=Path, default=Path(".chaos"), help="keeps the state (default .chaos)")
    parser.add_argument("--resume", action="store_true", help="go on where the state file ends; needs the same --seed")
    parser.add_argument("--only", metavar="SEED/NUMBER", help="play this schedule alone and tell its story")
    parser.add_argument("--mutate", choices=MUTATIONS, default="", help="take a piece of the protocol out; must fail")
    parser.add_argument("--json", action="store_true", help="the outcome as JSON on stdout, the rest on stderr")
    options = parser.parse_args(arguments)
    if options.resume and not options.seed:
        parser.error("--resume needs --seed: the one that the campaign printed when it began")
    if options.schedules < 1 or options.jobs < 1:
        parser.error("--schedules and --jobs begin at 1")
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
