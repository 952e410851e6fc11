"""`fleetmeter audit`: everything that can be checked about what was counted, and what is wrong, in words.

Reads the ledger, the tables beside it and Kafka's logs; changes nothing, and may run beside workers.
"""

from fleetmeter_jobs.audit.findings import Checked, Finding
from fleetmeter_jobs.audit.run import CHECKS, AuditContext, run_checks

__all__ = ["CHECKS", "AuditContext", "Checked", "Finding", "run_checks"]
