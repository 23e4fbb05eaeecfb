"""The consumer group: membership, assignment, and the records of ready partitions."""
