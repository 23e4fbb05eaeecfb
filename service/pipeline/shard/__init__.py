"""The loop that owns one shard: it applies events, commits batches and releases durable steps."""
