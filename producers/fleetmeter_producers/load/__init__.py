"""Steady load: producers that emit made-up generations at a given rate, through the client that everybody runs.

    report = run_load(LoadConfig(events_per_s=5_000, duration_s=60), "localhost:9092", "fleetmeter.usage")

Each producer is a process, with a source and a spool of its own, as a server of a fleet is. What is measured is the
client: the rate that it keeps up, how long `emit` takes, what is delivered and what waits.
"""

from fleetmeter_producers.load.config import LoadConfig
from fleetmeter_producers.load.latencies import Latencies
from fleetmeter_producers.load.report import EmitTimes, LoadReport, Progress
from fleetmeter_producers.load.run import run_load

__all__ = ["EmitTimes", "Latencies", "LoadConfig", "LoadReport", "Progress", "run_load"]
