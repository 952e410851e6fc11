"""A simulated inference fleet: diffusion and autoregressive servers, gateways, devices, and what customers do.

    summary = simulate(SimulationConfig(events=200_000, seed=7), "localhost:9092", oracle_path=Path("oracle.json"))

The events look like a real fleet's, faults included: duplicates, late ones, disorder, and malformed ones of every kind.
What must be counted is written down beside, by an oracle that knows nothing of the pipeline; `verify_oracle` compares.
"""

from fleetmeter_producers.simulator.config import SimulationConfig
from fleetmeter_producers.simulator.oracle import Oracle
from fleetmeter_producers.simulator.planned import Broken, Planned, Record
from fleetmeter_producers.simulator.run import SimulationSummary, simulate
from fleetmeter_producers.simulator.stream import records
from fleetmeter_producers.simulator.verify import Difference, verify_oracle

__all__ = [
    "Broken",
    "Difference",
    "Oracle",
    "Planned",
    "Record",
    "SimulationConfig",
    "SimulationSummary",
    "records",
    "simulate",
    "verify_oracle",
]
