"""The stream jobs: Kafka's usage events become exact rollups in ClickHouse, by a Faust app around the native core."""
