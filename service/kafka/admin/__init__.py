"""The topics: created and checked at the start, with the permissions on them."""
