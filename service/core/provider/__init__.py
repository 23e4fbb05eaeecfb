"""What the provider can answer, and the one table of its errors."""
