"""requirements/prerequisites.sh: one sentence for each thing that is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "requirements" / "prerequisites.sh"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A PATH with nothing but what the script itself needs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "env", "sed", "head"):
        (folder / name).symlink_to(shutil.which(name) or name)
    return folder


def program(folder: Path, name: str, body: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


def check(path: Path, what: str, **environment: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        ["bash", str(SCRIPT), what],
        env={"PATH": str(path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr.splitlines()


def test_a_bare_machine_is_told_everything_at_once(path: Path) -> None:
    code, sentences = check(path, "build")
    assert code == 1
    assert len(sentences) == 3
    assert sentences[0].startswith("fleetmeter needs Python 3.11 or newer")
    assert "rustup.rs" in sentences[1]
    assert "linker" in sentences[2]


def test_an_old_python_is_not_taken(path: Path) -> None:
    program(path, "python3", "exit 1")
    program(path, "cargo", "exit 0")
    program(path, "cc", "exit 0")
    code, sentences = check(path, "build")
    assert code == 1
    assert ["Python 3.11" in sentence for sentence in sentences] == [True]
    program(path, "python3.12", "exit 0")
    assert check(path, "build") == (0, [])


@pytest.mark.parametrize(
    ("java", "is_enough"),
    [
        ('openjdk version "17.0.15" 2025-04-15', True),
        ('java version "1.8.0_381"', False),
        ('openjdk version "25" x', True),
    ],
)
def test_kafka_needs_java_17_with_maven(path: Path, java: str, is_enough: bool) -> None:
    program(path, "java", f"echo '{java}' >&2")
    program(path, "mvn", "exit 0")
    code, sentences = check(path, "engines")
    assert (code == 0) is is_enough
    if not is_enough:
        assert "Docker" in sentences[0]
        assert "Java 17" in sentences[0]
    (path / "mvn").unlink()
    assert check(path, "engines")[0] == 1


def test_docker_or_a_given_broker_save_java(path: Path) -> None:
    assert check(path, "engines")[0] == 1
    assert check(path, "engines", FLEETMETER_KAFKA_BOOTSTRAP="localhost:9092") == (0, [])
    program(path, "docker", "exit 0")
    assert check(path, "engines") == (0, [])


def test_the_script_can_be_started_by_make() -> None:
    assert os.access(SCRIPT, os.X_OK)
