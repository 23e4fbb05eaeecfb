"""The outcome records: build them, and shrink those that the broker refuses for their size."""
