"""Metering diffusion servers: what really happened in a generation, and what servers report of it.

`DiffusionMeter` counts steps, blocks, forward passes and matrix operations where you can reach the decoding loop;
`counting_passes` counts the passes of a torch module; `reported` reads the answers of servers that you can't change.
"""

from fleetmeter_producers.diffusion.hooks import counting_passes
from fleetmeter_producers.diffusion.meter import DiffusionMeter
from fleetmeter_producers.diffusion.run import DiffusionRun

__all__ = ["DiffusionMeter", "DiffusionRun", "counting_passes"]
