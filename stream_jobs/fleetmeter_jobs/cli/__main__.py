"""`python -m fleetmeter_jobs.cli` is `fleetmeter`, with this very interpreter: how commands start one another."""

from fleetmeter_jobs.cli import main

main()
