"""Draws the plots of docs/performance.md from the JSON that the benchmarks write."""
