"""HTTP ingest: usage events from whatever cannot speak Kafka, as `fleetmeter ingest` serves it.

The way of a request: `service` (who asks, how much) -> `reading`, `decoding` (bytes, bounded) -> `framing` (bytes to
events) -> `judging` (is each one valid?) -> `sifting` (may this token send it?) -> `delivery` (Kafka). It is answered
202 when the broker has acknowledged everything that was accepted of it, and not before.

Needs the extra `ingest` (aiohttp, prometheus-client); importing this package alone needs nothing.
"""
