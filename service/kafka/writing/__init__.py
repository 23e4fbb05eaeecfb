"""The writers: they make a batch durable, in one transaction or in stages."""
