"""`make test-installs`: `pip install .` in a fresh environment of each Python, and a producer at work in it.

    python tests/installs/run.py python3.11 python3.12 /opt/python3.13/bin/python

Exits 1 if one of them is not there or does not work. Needs pip's package index.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from producer_install import check_producer, copy_sources, interpreter, new_environment, pip

IMPORT_LIMIT_S = 0.15


def main(pythons: list[str]) -> int:
    """Install and check with each; the exit code."""
    failed = 0
    with tempfile.TemporaryDirectory(prefix="fleetmeter-installs-") as name:
        sources = copy_sources(Path(name) / "sources")
        for number, python in enumerate(pythons):
            try:
                environment = new_environment(interpreter(python), Path(name) / str(number))
                pip(environment, "install", "--quiet", str(sources))
                found = check_producer(environment, Path(name), import_limit_s=IMPORT_LIMIT_S)
            except (RuntimeError, OSError) as error:
                failed += 1
                sys.stdout.write(f"{python}: FAILED\n{error}\n")
            else:
                sys.stdout.write(
                    f"{python}: Python {found['python']}, import {found['import_cpu_ms']} ms of CPU time, "
                    f"{found['delivered']} events delivered\n"
                )
            sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or [sys.executable]))
