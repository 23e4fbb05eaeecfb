"""The state of one partition: admission, decisions, batches of records, and how a restore loads it."""
