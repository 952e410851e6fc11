"""Every fault that a schedule may inject at a moment of its own; those inside a commit are `strikes`."""

from typing import Final

from fleetmeter_chaos.faults.fault import Fault, Scene
from fleetmeter_chaos.faults.network import NETWORK_FAULTS
from fleetmeter_chaos.faults.processes import PROCESS_FAULTS
from fleetmeter_chaos.faults.renames import RENAME_FAULTS

FAULTS_BY_PLACE: Final = (PROCESS_FAULTS, NETWORK_FAULTS, RENAME_FAULTS)
FAULTS: Final[dict[str, Fault]] = {name: fault for some in FAULTS_BY_PLACE for name, fault in some.items()}

__all__ = ["FAULTS", "FAULTS_BY_PLACE", "Fault", "Scene"]
