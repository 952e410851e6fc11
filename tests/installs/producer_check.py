"""Run by the Python of an installation: a producer works there, is light, and nothing else came with it.

    python producer_check.py [SECONDS]        prints what it found, as JSON

SECONDS: so much CPU time the import may take; on a machine that does other work, too, it takes more.
Needs nothing but what was installed.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

CLOSURE = {
    "fleetmeter",
    *("confluent-kafka", "orjson", "pydantic"),
    # What pydantic brings.
    *("annotated-types", "pydantic-core", "typing-extensions", "typing-inspection"),
}
HEAVY = {"faust", "aiokafka", "pyarrow", "clickhouse_connect", "chdb", "typer", "rich", "confluent_kafka"}
_TRIES = 5
_TRY_S = 30.0
_TIMED = """
import sys, time
start = time.process_time()
import fleetmeter_producers
print(time.process_time() - start, *sys.modules)
"""


def check(limit_s: float | None) -> dict[str, object]:
    """What was found; raises AssertionError where it is not as it must be."""
    installed = {one.metadata["Name"].lower().replace("_", "-") for one in metadata.distributions()} - {"pip"}
    assert installed == CLOSURE, f"installed is {sorted(installed)}"
    best, tries, deadline = float("inf"), 0, time.monotonic() + _TRY_S
    while tries < _TRIES or (limit_s is not None and best >= limit_s and time.monotonic() < deadline):
        seconds, *modules = _python("-c", _TIMED).split()
        best, tries = min(best, float(seconds)), tries + 1
        assert HEAVY.isdisjoint(name.partition(".")[0] for name in modules)
    assert limit_s is None or best < limit_s, f"the import took {best:.3f} s of CPU time at best, of {tries} tries"
    delivered = _emit()
    assert delivered == 500
    says = subprocess.run(
        [sys.executable, "-I", "-m", "fleetmeter_jobs.cli"], capture_output=True, text=True, check=False
    )
    assert says.returncode == 3, says
    assert "pip install 'fleetmeter[jobs]'" in says.stderr
    return {"python": sys.version.split()[0], "import_cpu_ms": round(best * 1000, 1), "delivered": delivered}


def _emit() -> int:
    """Events that the broker built into librdkafka has acknowledged."""
    # Here, so that what is installed is judged before something that is missing fails.
    from fleetmeter_producers import ClientSettings, UsageClient  # noqa: PLC0415
    from fleetmeter_producers.device import DeviceReporter  # noqa: F401, PLC0415
    from fleetmeter_producers.diffusion import DiffusionMeter  # noqa: PLC0415
    from fleetmeter_producers.gateway import Gateway  # noqa: F401, PLC0415

    logging.disable()  # the built-in broker's own chatter
    with tempfile.TemporaryDirectory() as folder:
        settings = ClientSettings(spool_dir=Path(folder), kafka={"test.mock.num.brokers": 1})
        client = UsageClient("unused:1", "urn:test:installed", settings=settings)
        meter = DiffusionMeter(client, model="llada-8b-instruct")
        for _ in range(500):
            with meter.generation("acct", input_tokens=9) as run:
                run.step(tokens=3)
        assert client.close(30).events == 0, client.stats()
        return client.stats().delivered


def _python(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-I", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


if __name__ == "__main__":
    sys.stdout.write(json.dumps(check(float(sys.argv[1]) if len(sys.argv) > 1 else None)) + "\n")
