"""All commands by name. A command's module is imported only when the command is called, so that help is instant."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import typer
from typer.core import TyperGroup
from typer.exceptions import Abort, TyperException

from fleetmeter_jobs.cli.exits import Exit, explain_failure


@dataclass(frozen=True, slots=True)
class Entry:
    """A command or group: the module of this package that has it as `app`, and its line in the list."""

    module: str
    summary: str


COMMANDS: Final[dict[str, Entry]] = {
    "up": Entry("up", "Start Kafka, ClickHouse and workers on this machine."),
    "down": Entry("down", "Stop everything that `up` and `local --detach` started."),
    "status": Entry("status", "Show what runs, where, and how far it has counted."),
    "demo": Entry("demo", "Simulate a fleet, count its events, and show that none is lost or counted twice."),
    "doctor": Entry("doctor", "Check what has to be installed, and say how to get it."),
    "simulate": Entry("simulate", "Send the events of a simulated fleet, and write down what must be counted."),
    "load": Entry("load", "Emit made-up usage at a steady rate, and report what the clients made of it."),
    "replay": Entry("replay", "Send a public request trace as generation events."),
    "usage": Entry("usage", "Print usage by any dimensions, summed over any time."),
    "query": Entry("query", "Run one of the named queries, or list them."),
    "reconcile": Entry("reconcile", "Prove that every Kafka record was counted exactly once."),
    "positions": Entry("positions", "Show where each partition stands, and decide about one that stands still."),
    "audit": Entry("audit", "Check everything that can be checked, and say in words what is wrong."),
    "rebuild": Entry("rebuild", "Make the hourly, daily and all other derived data again from the ledger."),
    "topic": Entry("topic", "Add partitions to the topic while it is counted."),
    "quarantine": Entry("quarantine", "List, show and replay the events that were refused."),
    "spool": Entry("spool", "Look into the spools of clients on this machine, and send what dead processes left."),
    "events": Entry("events", "Read raw records from Kafka by their coordinates."),
    "entitlements": Entry("entitlements", "Show what accounts may have, and list what they had beyond it."),
    "margin": Entry("margin", "Show margins by account, model and mode, and alarm when steps per token move them."),
    "counterfactual": Entry(
        "counterfactual", "Show what a period's work would have cost and been billed at, done otherwise."
    ),
    "experiment": Entry("experiment", "List the experiments of rate cards, and report how their arms do."),
    "estimates": Entry("estimates", "Hold devices' voluntary reports against what such devices can do."),
    "routing": Entry("routing", "Advise which kinds of queries to send to the cloud at once."),
    "schema": Entry("schema", "Print the event contract: types, JSON Schema, reference, model catalogue."),
    "rates": Entry("rates", "Check, publish, list, compare and try rate cards."),
    "invoice": Entry("invoice", "Make, show, export and explain invoices of closed periods."),
    "credits": Entry("credits", "Grant prepaid credits, show balances, and settle invoices with them."),
    "config": Entry("config", "Print every setting, its value and where the value comes from."),
    "accounts": Entry("accounts", "Apply, list and show accounts and their subscriptions."),
    "close": Entry("close", "Freeze a billing period, once every minute of it is complete."),
    "closes": Entry("closes", "List the billing periods that are closed."),
    "migrate": Entry("migrate", "Create or upgrade the ClickHouse tables."),
    "worker": Entry("worker", "Run one worker in the foreground."),
    "ingest": Entry("ingest", "Take events over HTTP, from whatever cannot speak Kafka."),
    "local": Entry("local", "Run only a local Kafka or only a local ClickHouse."),
}


class LazyGroup(TyperGroup):
    """The root group: it knows every command's name and line, and imports the one that is called."""

    _listing = False

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  (the interface's)
        """The names, in the order in which help shows them."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002  (the interface's)
        """The command; None for a name that does not exist. While help is written, a stand-in with its line."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        if self._listing:
            return _stand_in(cmd_name, entry.summary)
        module = importlib.import_module(f"fleetmeter_jobs.cli.{entry.module}")
        command: Any = typer.main.get_command(module.app)
        command.name = cmd_name
        return command

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Writes the help without importing a single command."""
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False


def _stand_in(name: str, summary: str) -> Any:
    app = typer.Typer(add_completion=False)
    app.command(name, help=summary)(lambda: None)
    return typer.main.get_command(app)


def command_app(**options: Any) -> typer.Typer:
    """The Typer of one command module: plain errors, and help that keeps its line breaks."""
    return typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich", no_args_is_help=False, **options
    )


root = typer.Typer(
    cls=LazyGroup,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@root.callback()
def fleetmeter() -> None:
    """Exact usage metering for AI inference fleets.

    Begin with [bold]fleetmeter demo[/bold], or with [bold]fleetmeter up --detach[/bold] and
    [bold]fleetmeter simulate --events 100000[/bold].
    """


def run(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits. Errors that people can act on become one message on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Libraries' warnings would mix with what commands print; what matters comes as an error of the command itself.
    logging.basicConfig(level=logging.ERROR, format="%(name)s: %(message)s")
    as_json = "--json" in given
    try:
        code = _run(given, as_json=as_json)
        sys.stdout.flush()  # a disk that is full shows now, as an error that is explained
        sys.exit(code)
    except BrokenPipeError:  # whoever reads has seen enough
        _let_go_of_stdout()
        sys.exit(Exit.NO)
    except Exception as error:  # noqa: BLE001  (what nobody can act on is printed with its trace)
        if isinstance(error, TyperException):
            failure: tuple[Exit, str] | None = (Exit.INPUT, error.format_message())
        else:
            failure = explain_failure(error)
        if failure is None:
            traceback.print_exception(error)
            sys.exit(Exit.DEFECT)
        if isinstance(error, OSError) and not error.filename:
            _let_go_of_stdout()
        exit_code, message = failure
        _report(message, exit_code, as_json=as_json)
        sys.exit(exit_code)
    except (KeyboardInterrupt, Abort):
        sys.exit(Exit.INTERRUPTED)


def _run(given: list[str], *, as_json: bool) -> str | int | None:
    """The exit code, as `sys.exit` takes it. A wrong option typer explains itself, in a box, but for machines."""
    try:
        ended = root(given, prog_name="fleetmeter", standalone_mode=not as_json)
    except SystemExit as error:
        return error.code
    return ended if isinstance(ended, int) else int(Exit.OK)


def _let_go_of_stdout() -> None:
    """What could not be written would be tried again, and complained about, when the process ends."""
    with contextlib.suppress(OSError, ValueError):  # a stand-in for stdout has no number
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(message: str, exit_code: Exit, *, as_json: bool) -> None:
    if as_json:
        document = {"error": {"exit_code": int(exit_code), "kind": exit_code.name.lower(), "message": message}}
        sys.stderr.write(orjson.dumps(document).decode() + "\n")
    else:
        sys.stderr.write(f"fleetmeter: {message}\n")
