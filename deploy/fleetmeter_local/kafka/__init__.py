"""A single-node Apache Kafka (KRaft) from Maven Central.

pom.xml         which jars
jars.py         fetches them once, into a folder that all runs share
properties.py   the broker's configuration
broker.py       formats, starts, waits for a real answer, finds again
"""
