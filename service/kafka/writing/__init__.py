"""The writers: a batch becomes durable, as a transaction or stage by stage."""
