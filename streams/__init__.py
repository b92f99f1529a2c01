"""Streams: the scoring lane on Kafka, and what runs beside it."""
