"""The journal topic: take a shard over, follow its partition, scan all partitions."""
