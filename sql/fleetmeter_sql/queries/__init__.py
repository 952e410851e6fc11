"""The named queries: one `.sql` file each, and the calls that load and ask them (`fleetmeter_sql.named_queries`)."""

from fleetmeter_sql.named_queries import NamedQuery, list_queries, load_query, run_query
from fleetmeter_sql.parameters import Parameter

__all__ = ["NamedQuery", "Parameter", "list_queries", "load_query", "run_query"]
