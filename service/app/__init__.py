"""The process: start, run, drain, and the wiring from the settings to the parts."""
