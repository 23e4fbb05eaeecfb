"""Scribe turns Kafka requests into transcripts. This is the only place that holds the version."""

__version__ = "0.1.0"
