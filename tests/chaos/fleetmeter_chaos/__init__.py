"""The chaos campaign: seeded schedules of faults over the real parts, and a verdict by what producers were told."""
