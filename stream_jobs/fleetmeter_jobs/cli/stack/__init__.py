"""The stack of one data folder: local engines, the topic, the tables, workers, and the supervisor that owns them."""
