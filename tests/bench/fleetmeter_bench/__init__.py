"""What fleetmeter's parts can do on this machine, measured. `make bench` prints it."""
