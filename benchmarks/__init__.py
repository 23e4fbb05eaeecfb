"""Measurements: each prints what it saw, and ratios of things measured in one run; none of them is a test."""
