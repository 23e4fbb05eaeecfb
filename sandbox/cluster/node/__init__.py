"""A node that runs the pods of a test cluster as processes; `agent` is its program."""
