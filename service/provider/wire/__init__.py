"""The vendor's wire, a module for each shape, as pure functions."""
