"""The chart in helm/: its schema from the settings, and the programs that check it."""
