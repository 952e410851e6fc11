"""The broker's jars: fetched once with Maven, shared by all runs on this machine.

The folder is named after the pom's content, so that another version never mixes with this one. It appears in one step
(a rename) when it is complete; two starters at once are kept apart by a lock.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from fleetmeter_local.errors import LocalError
from fleetmeter_local.local import locked
from fleetmeter_local.prerequisites import check_maven, require
from fleetmeter_local.process import trouble_in

POM = Path(__file__).with_name("pom.xml")
_TIMEOUT_S = 600


def default_cache_dir() -> Path:
    """`FLEETMETER_CACHE_DIR`, else `XDG_CACHE_HOME`/fleetmeter, else ~/.cache/fleetmeter."""
    if given := os.environ.get("FLEETMETER_CACHE_DIR"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fleetmeter"


def kafka_jars(cache_dir: Path | None = None) -> Path:
    """The folder that holds the broker's jars (about 45 MB); fetches them first if they are not there.

    Raises PrerequisiteError without Maven, LocalError (retryable) if Maven fails; its message has Maven's last lines.
    """
    cache = cache_dir if cache_dir is not None else default_cache_dir()
    digest = hashlib.sha256(POM.read_bytes()).hexdigest()[:12]
    folder = cache / f"kafka-{digest}"
    if folder.is_dir():
        return folder
    with locked(cache / f"kafka-{digest}.lock"):
        if not folder.is_dir():  # it may have come while we waited
            require(check_maven())
            _fetch(folder)
    return folder


def _fetch(folder: Path) -> None:
    work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".fetching-"))
    try:
        shutil.copy(POM, work / "pom.xml")
        log_path = work / "mvn.log"
        with log_path.open("wb") as log:
            done = subprocess.run(
                ["mvn", "--batch-mode", "dependency:copy-dependencies", f"-DoutputDirectory={work / 'libs'}"],
                cwd=work,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=_TIMEOUT_S,
                check=False,
            )
        if done.returncode != 0:
            raise LocalError(
                "Maven could not fetch Kafka's jars. Is Maven Central (or the mirror in ~/.m2/settings.xml) reachable "
                f"from here? Its last lines:\n{trouble_in(log_path)}",
                domain="kafka",
                retryable=True,
            )
        (work / "libs").rename(folder)
    except subprocess.TimeoutExpired as error:
        raise LocalError(
            f"Maven did not fetch Kafka's jars within {_TIMEOUT_S} s: is Maven Central reachable from here?",
            domain="kafka",
            retryable=True,
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
