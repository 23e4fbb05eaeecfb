"""Build outcome records, and shrink those that the broker refuses for their size."""
