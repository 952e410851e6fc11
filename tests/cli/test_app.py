"""The command line as a whole: help, names, exit codes, and what is loaded when."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer
from fleetmeter_doubles.written_commands import Written, misunderstood
from fleetmeter_jobs.cli.app import COMMANDS, run

HEAVY = {"faust", "aiokafka", "pyarrow", "clickhouse_connect", "confluent_kafka", "chdb", "pydantic_settings", "pandas"}


def commands_of(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Every command below a command, groups resolved, with its full name."""
    inner = getattr(command, "commands", None)
    if not inner:
        yield name, command
        return
    for inner_name, inner_command in inner.items():
        yield from commands_of(f"{name} {inner_name}", inner_command)


def every_command() -> list[tuple[str, Any]]:
    found = []
    for name, entry in COMMANDS.items():
        module = importlib.import_module(f"fleetmeter_jobs.cli.{entry.module}")
        found += commands_of(name, typer.main.get_command(module.app))
    return found


EVERY_COMMAND = every_command()
NAMES = [name for name, _ in EVERY_COMMAND]


@pytest.mark.parametrize("name", list(COMMANDS))
def test_the_list_says_what_the_command_says_of_itself(name: str) -> None:
    entry = COMMANDS[name]
    module = importlib.import_module(f"fleetmeter_jobs.cli.{entry.module}")
    own = (typer.main.get_command(module.app).help or "").strip()
    assert own.startswith(entry.summary.removesuffix("."))


@pytest.mark.parametrize(("name", "command"), EVERY_COMMAND, ids=NAMES)
def test_every_command_prints_json_on_demand(name: str, command: Any) -> None:
    assert any("--json" in parameter.opts for parameter in command.params), f"{name} has no --json"


@pytest.mark.parametrize(("name", "command"), EVERY_COMMAND, ids=NAMES)
def test_every_command_has_an_example_of_itself(name: str, command: Any) -> None:
    assert re.search(rf"Example: fleetmeter {name}\b", command.help or ""), f"{name} has no example in its help"


@pytest.mark.parametrize(("name", "command"), EVERY_COMMAND, ids=NAMES)
def test_every_example_is_a_command_line_that_is_understood(name: str, command: Any) -> None:
    example = (command.help or "").split("Example: ", 1)[1].splitlines()[0]
    assert example.startswith(f"fleetmeter {name}")
    assert misunderstood(Written("help", 0, example, whole=True)) is None


def test_help_names_every_command_and_loads_none_of_them() -> None:
    script = (
        "import sys\n"
        "from fleetmeter_jobs.cli import app\n"
        "try:\n    app.run(['--help'])\nexcept SystemExit as ended:\n    assert not ended.code\n"
        f"print('LOADED', sorted(set(sys.modules) & {HEAVY!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "LOADED []" in done.stdout
    for name in COMMANDS:
        assert re.search(rf"\b{name}\b", done.stdout)


def test_without_the_jobs_extra_the_command_says_what_to_install() -> None:
    script = (
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'typer':\n"
        "            raise ModuleNotFoundError(\"No module named 'typer'\", name='typer')\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "from fleetmeter_jobs.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr == "The fleetmeter commands need the jobs extra: pip install 'fleetmeter[jobs]'\n"


def test_a_command_that_lacks_a_package_names_the_extra(
    fleetmeter: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'chdb.session'", name="chdb.session")

    monkeypatch.setattr("fleetmeter_jobs.cli.app.importlib.import_module", missing)
    ended = fleetmeter("status")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err == "fleetmeter: This needs the package chdb: pip install 'fleetmeter[local]'\n"


def test_an_unknown_command_is_wrong_input(fleetmeter: Callable[..., Any]) -> None:
    ended = fleetmeter("reconsile")
    assert ended.code == 2
    assert "reconsile" in ended.err


def test_an_error_is_one_line_or_one_json_document(fleetmeter: Callable[..., Any]) -> None:
    plain = fleetmeter("config", "-s", "topicc=x")
    assert plain.code == 2
    assert plain.err == "fleetmeter: unknown setting 'topicc'; did you mean topic?\n"
    as_json = fleetmeter("config", "-s", "topicc=x", "--json")
    assert as_json.out == ""
    assert '"kind":"input"' in as_json.err
    assert "did you mean topic?" in as_json.err


def test_a_defect_keeps_its_trace_and_is_no_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python's own exit code of a stack trace is 1: for an audit in a cron job that would be "something is wrong"."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("fleetmeter_jobs.cli.app.root", broken)
    with pytest.raises(SystemExit) as ended:
        run(["config"])
    assert ended.value.code == 70
    assert "raise ZeroDivisionError" in capsys.readouterr().err


def test_ctrl_c_is_its_own_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fleetmeter_jobs.cli.app.root", interrupted)
    with pytest.raises(SystemExit) as ended:
        run(["config"])
    assert ended.value.code == 130
