"""The vendor's wire format as pure functions, one module per shape."""
