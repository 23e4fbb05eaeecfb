"""The text of docs/alerts.md, from `tools.monitoring`."""

from tools.monitoring.alerts import ALERTS
from tools.monitoring.rules import RECORDINGS, scaled

INTRODUCTION = """\
# Alerts

`python -m tools.generate_docs alerts` writes this page from `tools/monitoring/`, from which `make docs` also
writes `helm/rules/scribe.yaml` (a rule file of Prometheus) and `helm/dashboards/`; tests keep them in step.

`critical` wakes somebody, `warning` waits for the morning. *What to do* is a section of
[operations.md](operations.md); `runbook` in the rule file names it too. Every expression keeps `namespace`
and `job`, so that one Prometheus can watch several installations.

"""
SUMS = """
## Recorded sums

What belongs to a shard has the label `partition`, and two replicas may show it for a moment while it moves.
These sums are true then too; the dashboards read them. `scribe:waiting_jobs:sum` has no partition: for the
seconds in which a shard moves, its jobs may count twice or not at all.

| name | expression |
| --- | --- |
"""


def alerts_page() -> str:
    """The whole page."""
    rows = [
        f"| `{each.name}` | {each.severity} | {each.hold} | {each.meaning}"
        f" | [{each.section.replace('-', ' ')}](operations.md#{each.section}) |"
        for each in ALERTS
    ]
    expressions = [f"- `{each.name}`: `{scaled(each.expression, 1)}`" for each in ALERTS]
    sums = [f"| `{each.name}` | `{scaled(each.expression, 1)}` |" for each in RECORDINGS]
    lines = [
        "| alert | severity | for | it means | what to do |",
        "| --- | --- | --- | --- | --- |",
        *rows,
        "",
        "## Expressions",
        "",
        *expressions,
    ]
    return INTRODUCTION + "\n".join(lines) + "\n" + SUMS + "\n".join(sums) + "\n"
