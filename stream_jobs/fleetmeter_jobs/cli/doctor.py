"""`fleetmeter doctor`: what has to be on this machine, whether it is, and how to get it."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import typer
from fleetmeter_local import Prerequisite, check_prerequisites
from rich.text import Text

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.exits import Exit
from fleetmeter_jobs.cli.options import DataDir, Given, Json, own_settings
from fleetmeter_jobs.cli.output import console, print_json, print_table

app = command_app()

MINIMUM_FREE_BYTES = 2 * 1024**3
DOCKER_TIMEOUT_S = 10


@app.command()
def doctor(as_json: Json = False, data_dir: DataDir = None, setting: Given = None) -> None:
    """Check what has to be installed, and say how to get it. Exits 1 if a worker or the local stack could not run.

    Certificates and keys that the settings name are read and tried; no engine is talked to. A password that would
    travel unencrypted is mentioned, and is no failure.

    Example: fleetmeter doctor
    """
    settings = own_settings(data_dir, setting)
    checks = [check_python(), check_native(), check_disk(settings.data_dir)]
    docker = check_docker()
    engines = check_prerequisites()
    given = {
        "local Kafka": "kafka_bootstrap" in settings.model_fields_set,
        "embedded ClickHouse": "clickhouse_url" in settings.model_fields_set,
    }
    unneeded = {name for name, is_given in given.items() if is_given or docker.ok}
    failed = [check for check in [*checks, *engines] if not check.ok and check.needed_for not in unneeded]
    everything = [*checks, docker, *engines]
    if as_json:
        checks_made = [asdict(check) for check in everything]
        print_json({"ok": not failed, "checks": checks_made, "cautions": settings.cautions()})
    else:
        marks = {True: Text("ok", "green"), False: Text("not needed", "yellow")}
        rows = [
            (c.name, Text("missing", "red") if c in failed else marks[c.ok], c.found, c.needed_for) for c in everything
        ]
        print_table(("what", "", "found", "needed for"), rows)
        for check in failed:
            console.print(Text.assemble("\n", (check.name, "red"), f": {check.how_to_get}"))
        for caution in settings.cautions():
            console.print(Text.assemble("\n", ("careful", "yellow"), f": {caution}"))
        if not failed:
            console.print(Text.assemble("\nEverything is there. Begin with ", ("fleetmeter demo", "bold"), "."))
    if failed:
        raise typer.Exit(Exit.NO)


def check_python() -> Prerequisite:
    """The interpreter that runs us."""
    return Prerequisite(
        "python",
        ok=sys.version_info >= (3, 11),
        found=platform.python_version(),
        how_to_get="Install Python 3.11 or newer.",
        needed_for="everything",
    )


def check_native() -> Prerequisite:
    """The native core, which counts."""
    found = importlib.util.find_spec("fleetmeter_native._core") is not None
    return Prerequisite(
        "native core",
        ok=found,
        found="built" if found else "not built",
        how_to_get="Get a Rust toolchain (https://rustup.rs), then `pip install --force-reinstall fleetmeter` "
        "(in a clone: `make setup`).",
        needed_for="workers",
    )


def check_disk(folder: Path) -> Prerequisite:
    """Room for the local engines' data: on the disk of their folder, or on which it would be made."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    return Prerequisite(
        "free disk",
        ok=free >= MINIMUM_FREE_BYTES,
        found=f"{free / 1024**3:,.1f} GiB",
        how_to_get="Free at least 2 GiB, or give another folder with --data-dir.",
        needed_for="the local stack",
    )


def check_docker() -> Prerequisite:
    """A Docker daemon that answers; it saves Java, Maven and the embedded ClickHouse."""
    how = "Start Docker, or do without: Java 17 with Maven and the `local` extra do the same."
    found = "not installed"
    if shutil.which("docker"):
        try:
            done = subprocess.run(
                ["docker", "info", "--format", "{{.ServerVersion}}"],
                capture_output=True,
                text=True,
                timeout=DOCKER_TIMEOUT_S,
                check=False,
            )
            found = done.stdout.strip() if done.returncode == 0 else "installed, but no daemon answers"
        except subprocess.TimeoutExpired:
            found = f"installed, but its daemon does not answer within {DOCKER_TIMEOUT_S} s"
    ok = found[:1].isdigit()
    return Prerequisite("docker", ok=ok, found=found, how_to_get=how, needed_for="engines in containers (optional)")
