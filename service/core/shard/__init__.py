"""The state of one shard: admission, decisions, batches of records, and loading on a restore."""
