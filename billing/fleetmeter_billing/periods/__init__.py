"""Closing billing periods: when one is complete, what is frozen of it, and the one switch that makes it count."""
