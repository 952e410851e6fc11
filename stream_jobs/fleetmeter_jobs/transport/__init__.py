"""Whole Kafka record batches through Faust: every hook into the internals of aiokafka and Faust lives in this package,
each in one module.

`tests/stream_jobs/transport` has a test for each assumption about upstream, so that an upgrade that breaks one fails
there and not in production.
"""
