"""Which provider task belongs to which uncertain submission."""
