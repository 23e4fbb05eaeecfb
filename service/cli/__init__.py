"""The command `scribe`: runs the service, and is a terminal client of its topics."""
