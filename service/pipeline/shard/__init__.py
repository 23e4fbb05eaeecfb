"""The loop that owns one shard: events in, batches out, steps released once they are durable."""
