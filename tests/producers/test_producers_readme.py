"""Every example of the producers' README runs as it stands, on a real broker."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from fleetmeter_local import RunningKafka

README = Path(__file__).parents[2] / "producers" / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.kafka
def test_the_examples_run(kafka: RunningKafka, make_topic: Callable[..., str], tmp_path: Path) -> None:
    where = {"FLEETMETER_KAFKA_BOOTSTRAP": kafka.bootstrap, "FLEETMETER_TOPIC": make_topic(2)}
    printed = []
    for example in EXAMPLES:
        done = subprocess.run(
            [sys.executable, "-c", example],
            cwd=tmp_path,
            env={**os.environ, **where},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{example}\n{done.stderr}"
        printed.append(done.stdout)
    assert re.search(r"^sent [0-7][0-9A-Z]{25}-0; 0 events are not acknowledged$", printed[0], re.MULTILINE)
    assert "events_in=2000" in "".join(printed)
    assert orjson.loads((tmp_path / "oracle.json").read_bytes())["complete"] is True


def test_the_names_in_the_text_exist() -> None:
    text = README.read_text(encoding="utf-8")
    folder = README.parent / "fleetmeter_producers"
    table = text[text.index("## Where things are") :]
    for name in re.findall(r"`([a-z_]+\.py|[a-z_]+/)`", table):
        assert (folder / name).exists(), name
