"""Installing fleetmeter as an inference server does: out of the files of this tree, without a Rust toolchain."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
_CHECK: Final = Path(__file__).with_name("producer_check.py")
_TIMEOUT_S: Final = 600


def copy_sources(folder: Path) -> Path:
    """The tracked files, elsewhere: a build leaves traces beside them."""
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=ROOT)
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


def interpreter(name: str) -> str:
    """The path of a Python that works: `name` itself, or pyenv's newest of that version, whose name alone only works
    where it was made the folder's choice. Raises RuntimeError if there is none."""
    version = name.removeprefix("python")
    installed: list[Path] = []
    if version[:1].isdigit() and shutil.which("pyenv"):
        installed = sorted(Path(run("pyenv", "root").strip()).glob(f"versions/{version}.*/bin/{name}"))
    for path in (name, *map(str, reversed(installed))):
        works = shutil.which(path) and not subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode
        if works:
            return path
    raise RuntimeError(f"there is no working {name}: install it, or name those to try: make test-installs PYTHONS=...")


def new_environment(python: str, folder: Path) -> str:
    """A virtual environment of a Python, without anything; returns its interpreter."""
    run(python, "-m", "venv", "--without-pip", str(folder))
    return str(folder / "bin" / "python")


def pip(python: str, *arguments: str) -> str:
    """This Python's pip, working on the environment of another; without a Rust toolchain."""
    return run(sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", *arguments)


def check_producer(python: str, cwd: Path, *, import_limit_s: float | None = None) -> dict[str, Any]:
    """What `producer_check.py` finds in the environment. Raises RuntimeError with its output where that is bad."""
    limit = () if import_limit_s is None else (str(import_limit_s),)
    found: dict[str, Any] = json.loads(run(python, "-I", str(_CHECK), *limit, cwd=cwd).splitlines()[-1])
    return found


def run(*command: str, cwd: Path | None = None) -> str:
    """The output of a command that succeeds. Raises RuntimeError with all it said otherwise."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=cwd, env=without_rust(), timeout=_TIMEOUT_S
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def without_rust() -> dict[str, str]:
    """The environment of a machine that has no cargo, and nothing of this tree on its path."""
    where = os.pathsep.join(
        folder for folder in os.environ["PATH"].split(os.pathsep) if not (Path(folder) / "cargo").exists()
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV", "FLEETMETER_"))}
    return {**kept, "PATH": where}
