"""What the local engines need on this machine, for `fleetmeter doctor` and for clear errors before a start."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
from dataclasses import dataclass

from fleetmeter_local.errors import PrerequisiteError

JAVA_MINIMUM = 17


@dataclass(frozen=True, slots=True)
class Prerequisite:
    """One thing that has to be there.

    Attributes:
        name: as people call it.
        ok: it is there and new enough.
        found: its version, or what was found instead.
        how_to_get: one sentence.
        needed_for: the engine that needs it.
    """

    name: str
    ok: bool
    found: str
    how_to_get: str
    needed_for: str


def check_java() -> Prerequisite:
    """A Java runtime of version 17 or newer."""
    how = (
        f"Install a Java runtime, version {JAVA_MINIMUM} or newer (Debian/Ubuntu: "
        "`apt install openjdk-17-jre-headless`, macOS: `brew install openjdk@17`), and have `java` on the PATH."
    )
    output = _output_of("java", "-version")
    if output is None:
        return Prerequisite("java", ok=False, found="not found", how_to_get=how, needed_for="local Kafka")
    match = re.search(r'version "(\d+)(?:\.(\d+))?[^"]*"', output)
    if match is None:
        return Prerequisite("java", ok=False, found=_first_line(output), how_to_get=how, needed_for="local Kafka")
    # Up to Java 8 the version began with "1.".
    major = int(match[2] or 0) if match[1] == "1" else int(match[1])
    found = match[0].removeprefix('version "').removesuffix('"')
    return Prerequisite("java", ok=major >= JAVA_MINIMUM, found=found, how_to_get=how, needed_for="local Kafka")


def check_maven() -> Prerequisite:
    """Maven, which fetches the broker's jars once."""
    how = "Install Maven (Debian/Ubuntu: `apt install maven`, macOS: `brew install maven`), and have `mvn` on the PATH."
    output = _output_of("mvn", "-B", "-v")
    match = None if output is None else re.search(r"Apache Maven (\S+)", output)
    if match is None:
        found = "not found" if output is None else _first_line(output)
        return Prerequisite("mvn", ok=False, found=found, how_to_get=how, needed_for="local Kafka")
    return Prerequisite("mvn", ok=True, found=match[1], how_to_get=how, needed_for="local Kafka")


def check_chdb() -> Prerequisite:
    """The embedded ClickHouse engine and the web server in front of it. Looks, and does not load the engine."""
    how = "Install fleetmeter with its local extra: `pip install 'fleetmeter[local]'`."
    versions = []
    for distribution in ("chdb", "aiohttp", "cramjam"):
        try:
            versions.append(f"{distribution} {importlib.metadata.version(distribution)}")
        except importlib.metadata.PackageNotFoundError:
            return Prerequisite(
                "chdb", ok=False, found=f"{distribution} not found", how_to_get=how, needed_for="embedded ClickHouse"
            )
    return Prerequisite("chdb", ok=True, found=", ".join(versions), how_to_get=how, needed_for="embedded ClickHouse")


def check_prerequisites() -> list[Prerequisite]:
    """Everything that the local engines need. Takes about half a second (Java starts twice)."""
    return [check_java(), check_maven(), check_chdb()]


def require(*prerequisites: Prerequisite) -> None:
    """Raises PrerequisiteError naming every one that is not ok, and how to get it."""
    missing = [each for each in prerequisites if not each.ok]
    if missing:
        raise PrerequisiteError(
            "\n".join(f"{each.needed_for} needs {each.name} ({each.found}). {each.how_to_get}" for each in missing)
        )


def _output_of(program: str, *arguments: str) -> str | None:
    path = shutil.which(program)
    if path is None:
        return None
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False, errors="replace")
    return (done.stdout + done.stderr).strip()


def _first_line(output: str) -> str:
    return output.splitlines()[0] if output else "no version"
