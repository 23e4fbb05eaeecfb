"""The topics: created and checked at the start, and what the service may do with them."""
