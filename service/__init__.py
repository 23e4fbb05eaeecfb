"""Scribe turns Kafka requests into transcripts.

This is the only place that holds the version.

`(N2)` in a docstring is an invariant of docs/architecture.md.
"""

__version__ = "0.1.0"
