"""The command `scribe`: runs the service, and is a client of its topics for people at a terminal."""
