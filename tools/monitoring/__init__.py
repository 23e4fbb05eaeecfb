"""Alerts, recording rules and dashboards, as code; `python -m tools.generate_monitoring` writes them."""
