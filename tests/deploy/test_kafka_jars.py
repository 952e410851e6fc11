"""The broker's jars: fetched once, whole or not at all, by one of several starters."""

from __future__ import annotations

import re
import subprocess
import threading
from pathlib import Path

import pytest
from fleetmeter_local import LocalError, PrerequisiteError
from fleetmeter_local.docker import KAFKA_IMAGE
from fleetmeter_local.kafka import jars
from fleetmeter_local.kafka.jars import POM, default_cache_dir, kafka_jars
from fleetmeter_local.kafka.properties import broker_settings, properties_text

FETCHES = """#!/bin/sh
for argument in "$@"; do
  case "$argument" in -DoutputDirectory=*) folder="${argument#*=}" ;; esac
done
[ "$1" = "-B" ] && { echo "Apache Maven 3.9"; exit 0; }
echo run >> "$(dirname "$0")/runs"
mkdir "$folder" && echo jar > "$folder/kafka.jar"
"""


@pytest.fixture
def maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for mvn that makes one jar, and counts its runs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "mvn"
    program.write_text(FETCHES)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return program


def _runs(maven: Path) -> int:
    counted = maven.parent / "runs"
    return len(counted.read_text().splitlines()) if counted.exists() else 0


def test_jars_are_fetched_once(maven: Path, tmp_path: Path) -> None:
    folder = kafka_jars(tmp_path / "cache")
    assert (folder / "kafka.jar").read_text() == "jar\n"
    assert kafka_jars(tmp_path / "cache") == folder
    assert _runs(maven) == 1
    assert sorted(path.suffix for path in folder.parent.iterdir()) == ["", ".lock"]


def test_two_starters_fetch_once(maven: Path, tmp_path: Path) -> None:
    got: list[Path] = []
    threads = [threading.Thread(target=lambda: got.append(kafka_jars(tmp_path / "cache"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(got), len(set(got)), _runs(maven)) == (4, 1, 1)


def test_what_maven_says_is_shown_and_nothing_half_done_stays(maven: Path, tmp_path: Path) -> None:
    says_version = '[ "$2" = "-v" ] && { echo "Apache Maven 3.9"; exit 0; }'
    maven.write_text(f"#!/bin/sh\n{says_version}\necho '[ERROR] no route to host'; exit 1\n")
    with pytest.raises(LocalError, match="no route to host") as caught:
        kafka_jars(tmp_path / "cache")
    assert (caught.value.domain, caught.value.retryable) == ("kafka", True)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_maven_has_a_deadline(maven: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maven.write_text(
        '#!/bin/sh\n[ "$1" = "-B" ] && [ "$2" = "-v" ] && { echo "Apache Maven 3.9"; exit 0; }\nexec sleep 60\n'
    )
    monkeypatch.setattr(jars, "_TIMEOUT_S", 0.2)
    with pytest.raises(LocalError, match=r"within 0\.2 s"):
        kafka_jars(tmp_path / "cache")


def test_without_maven_the_way_to_get_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PrerequisiteError, match="Install Maven"):
        kafka_jars(tmp_path / "cache")


def test_the_cache_is_where_people_expect_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLEETMETER_CACHE_DIR", "/given")
    assert default_cache_dir() == Path("/given")
    monkeypatch.delenv("FLEETMETER_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert default_cache_dir() == Path("/xdg/fleetmeter")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / ".cache" / "fleetmeter"


def test_the_pom_pins_a_broker_and_a_way_to_log() -> None:
    pom = POM.read_text()
    assert set(re.findall(r"<artifactId>(kafka_2.13|slf4j-.*?)</artifactId>", pom)) == {"kafka_2.13", "slf4j-simple"}
    (version,) = re.findall(r"<kafka.version>(.*?)</kafka.version>", pom)
    assert version.startswith("4.")
    assert f"apache/kafka:{version}" == KAFKA_IMAGE  # local and container are the same broker


def test_settings_survive_javas_properties_format() -> None:
    settings = broker_settings("/a b\\c", 1, 2)
    assert settings["auto.create.topics.enable"] == "false"
    lines = properties_text(settings).splitlines()
    assert "log.dirs=/a b\\\\c" in lines
    assert len(lines) == len(settings)
    assert properties_text({"a": "é語😀"}) == "a=\\u00e9\\u8a9e\\ud83d\\ude00\n"


def test_the_stand_in_is_run_as_maven_would_be(maven: Path) -> None:
    done = subprocess.run([maven, "-B", "-v"], capture_output=True, text=True, check=True)
    assert done.stdout == "Apache Maven 3.9\n"
