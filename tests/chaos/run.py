"""`make chaos`: seeded schedules of faults over real Kafka, real ClickHouse, real workers and producers.

Each schedule has a topic and a database of its own; afterwards everything must have been counted exactly once, judged
by what producers were told. Schedule k of seed s is the one of seed s + k, so that `--schedules 1 --seed S` repeats it.
Exit codes: 0 all ended well, 1 some did not (with --mutate: nothing noticed the mutation), 130 interrupted.

Example: python tests/chaos/run.py --schedules 20 --seed 7
"""

from __future__ import annotations

import argparse
import itertools
import json
import secrets
import signal
import sys
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

# A script has its own folder on the path, but not its neighbours, which pytest would put there.
sys.path.append(str(Path(__file__).resolve().parent.parent / "doubles"))

from fleetmeter_chaos.campaign import Campaign, StateFile, Tally
from fleetmeter_chaos.mutations import MUTATIONS
from fleetmeter_chaos.plan import draw_plan
from fleetmeter_chaos.screen import effects_table, progress_bar, show_failure, summary_table
from fleetmeter_chaos.story import Story
from rich.console import Console

EXIT_INTERRUPTED = 130


def main(arguments: list[str]) -> int:
    """Run a campaign; the exit code."""
    options = _options(arguments)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job must be interruptible, too
        signal.signal(signal.SIGINT, signal.default_int_handler)
    console = Console(stderr=options.json)
    if not console.is_terminal:
        console = Console(stderr=options.json, width=140)
    seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    if options.mutate:  # a campaign may be waiting to be resumed
        options.folder /= "mutated"
    tally, seeds = _what_is_left(options, seed)
    console.print(f"{len(seeds)} schedules from seed {seed}, {options.jobs} at a time")
    already, began = len(tally.outcomes), time.monotonic()
    campaign = Campaign(options.folder, seeds, jobs=options.jobs, mutation=options.mutate, keep=options.keep)
    interrupted = False
    with progress_bar(console) as bar, closing(campaign.outcomes()) as outcomes:
        task = bar.add_task("Schedules", total=len(seeds), failed=0)
        try:
            for outcome in outcomes:
                tally.outcomes.append(outcome)
                bar.update(task, advance=1, failed=len(tally.failed))
                if outcome.problems:
                    folder = campaign.failed_folder(outcome.seed)
                    show_failure(bar.console, outcome, Story(folder / "story.jsonl").entries(), str(folder))
                    if options.mutate and MUTATIONS[options.mutate].explains(outcome.problems):
                        break
        except KeyboardInterrupt:
            interrupted = True
            bar.console.print("Interrupted: ending what runs. Go on later with --resume.")
    taken_s = time.monotonic() - began
    console.print(summary_table(tally))
    console.print(effects_table(tally))
    console.print(
        f"Seeds {seed} to {seed + options.schedules - 1}: {len(tally.outcomes)} schedules, {len(tally.failed)} failed, "
        f"{len(tally.outcomes) - already} of them in {taken_s:,.0f} s, "
        f"{(len(tally.outcomes) - already) * 60 / taken_s:.1f} a minute"
    )
    if options.json:
        sys.stdout.write(json.dumps(_document(tally, seed), indent=2) + "\n")
    if interrupted:
        return EXIT_INTERRUPTED
    if options.mutate:
        return _caught(console, options.mutate, tally)
    return 1 if tally.failed else 0


def _what_is_left(options: argparse.Namespace, seed: int) -> tuple[Tally, list[int]]:
    """The outcomes of before, and the seeds to run."""
    seeds = list(range(seed, seed + options.schedules))
    if options.mutate and (needs := MUTATIONS[options.mutate].needs):
        fit = (one for one in itertools.count(seed) if getattr(draw_plan(one), needs))
        seeds = list(itertools.islice(fit, options.schedules))
    state = StateFile(options.folder / "state.jsonl")
    if not options.resume:
        state.path.unlink(missing_ok=True)
        return Tally(), seeds
    before = [outcome for outcome in state.load() if outcome.seed in set(seeds)]
    done = {outcome.seed for outcome in before}
    return Tally(before), [one for one in seeds if one not in done]


def _caught(console: Console, mutation: str, tally: Tally) -> int:
    number = len(tally.outcomes)
    if any(MUTATIONS[mutation].explains(outcome.problems) for outcome in tally.failed):
        console.print(f"Without the safeguard {mutation!r}, schedule {number} failed, as it must.")
        return 0
    console.print(f"{number} schedules did not notice that {mutation!r} is out: {MUTATIONS[mutation].what}.")
    return 1


def _document(tally: Tally, seed: int) -> dict[str, object]:
    return {
        "seed": seed,
        "schedules": len(tally.outcomes),
        "failed": [asdict(outcome) for outcome in tally.failed],
        "injected": tally.injected(),
        "survived": tally.survived(),
        "effects": tally.effects(),
        "bad_input": tally.bad_input(),
        "events": sum(outcome.events for outcome in tally.outcomes),
        "workers_started": sum(outcome.workers_started for outcome in tally.outcomes),
        "seconds": sum(outcome.seconds for outcome in tally.outcomes),
    }


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schedules", type=int, default=20, help="how many (default 20)")
    parser.add_argument("--seed", type=int, help="of the first; a new one, printed, if not given")
    parser.add_argument("--jobs", type=int, default=3, help="schedules at a time, each with engines (default 3)")
    parser.add_argument("--folder", type=Path, default=Path(".chaos"), help="keeps state and failures (default .chaos)")
    parser.add_argument(
        "--resume", action="store_true", help="leave out what the state file has; needs the same --seed"
    )
    parser.add_argument("--keep", action="store_true", help="keep stories and logs of schedules that ended well, too")
    parser.add_argument("--mutate", choices=MUTATIONS, default="", help="take a safeguard out; must fail")
    parser.add_argument("--json", action="store_true", help="the outcome as JSON on stdout, the rest on stderr")
    options = parser.parse_args(arguments)
    if options.resume and options.seed is None:
        parser.error("--resume needs --seed: the one that the campaign printed when it began")
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
