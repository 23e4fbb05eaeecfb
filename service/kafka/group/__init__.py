"""The consumer group: membership, assignment, and the records of the partitions that are ready."""
