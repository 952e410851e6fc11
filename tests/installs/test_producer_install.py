"""The base install, without a network: a wheel of this tree, and an environment with nothing but its dependencies."""

from __future__ import annotations

import shutil
import sys
from importlib import metadata
from pathlib import Path

from producer_check import CLOSURE
from producer_install import check_producer, copy_sources, new_environment, pip, run


def test_a_server_that_installs_only_the_base_has_a_working_producer(tmp_path: Path) -> None:
    sources, wheels = copy_sources(tmp_path / "sources"), tmp_path / "wheels"
    build = ("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(sources))
    run(sys.executable, "-m", "pip", *build)
    (wheel,) = wheels.glob("fleetmeter-*.whl")
    python = new_environment(sys.executable, tmp_path / "environment")
    pip(python, "install", "--quiet", "--no-deps", "--no-index", str(wheel))
    (packages,) = (tmp_path / "environment").glob("lib/python*/site-packages")
    for name in CLOSURE - {"fleetmeter"}:
        _copy_distribution(name, packages)
    found = check_producer(python, tmp_path)
    assert found["delivered"] == 500


def test_what_the_base_declares_is_what_its_closure_comes_from() -> None:
    declared = {one.split(">")[0] for one in metadata.requires("fleetmeter") or [] if "extra ==" not in one}
    assert declared == {"confluent-kafka", "pydantic", "orjson"}


def _copy_distribution(name: str, into: Path) -> None:
    """What is installed here, as a link for each of its top-level files."""
    found = metadata.distribution(name)
    tops = {Path(str(file)).parts[0] for file in found.files or [] if not str(file).startswith("..")} - {"__pycache__"}
    for top in tops:
        here = Path(str(found.locate_file(top)))
        if here.is_dir():
            (into / top).symlink_to(here, target_is_directory=True)
        else:
            shutil.copyfile(here, into / top)
