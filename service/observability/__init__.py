"""What operators see: logs, metrics, probes and status.

Nothing here decides or raises.
"""
