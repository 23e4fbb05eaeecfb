"""The alerts of one release: each metric is selected by its namespace and job."""

import re

from tests.unit.chart.rendering import Manifest, by_kind, values_of
from tools.monitoring.rules import groups

METRIC = re.compile(r"\b(?:scribe[_:][a-z0-9_:]+|process_start_time_seconds)\b(.{0,80})", re.DOTALL)
OURS = '{namespace="voice",job="speech-scribe"'


def rules(values: Manifest) -> list[Manifest]:
    found = by_kind(values)["PrometheusRule"]["spec"]["groups"]
    return [rule for group in found for rule in group["rules"]]


def test_every_metric_of_every_rule_is_selected_by_namespace_and_job() -> None:
    for rule in rules(values_of("monitoring")):
        after = METRIC.findall(rule["expr"])
        assert after
        assert all(each.startswith(OURS) for each in after), rule["expr"]


def test_without_the_selectors_the_rules_are_those_of_the_file() -> None:
    written = [rule for group in groups()["groups"] for rule in group["rules"]]  # type: ignore[attr-defined]
    shown = rules({"podMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}})
    for rule in shown:
        rule["expr"] = rule["expr"].replace(f"{OURS},", "{").replace(f"{OURS}}}", "")
    assert shown == written


def test_alerts_carry_the_labels_and_the_runbook_of_the_values() -> None:
    shown = {rule["alert"]: rule for rule in rules(values_of("monitoring")) if "alert" in rule}
    assert "ScribeSettingsDiffer" not in shown
    assert shown["ScribeHold"]["labels"] == {"severity": "critical", "team": "speech"}
    assert shown["ScribeClock"]["annotations"]["runbook_url"] == (
        "https://wiki.example.org/scribe/operations#the-clock-stepped"
    )
    assert "runbook" not in shown["ScribeClock"]["annotations"]


def test_the_monitor_sets_the_labels_that_the_rules_select_by() -> None:
    (endpoint,) = by_kind(values_of("monitoring"))["PodMonitor"]["spec"]["podMetricsEndpoints"]
    job, instance = endpoint["relabelings"]
    assert (job["targetLabel"], job["replacement"]) == ("job", "speech-scribe")
    assert instance == {
        "action": "replace",
        "sourceLabels": ["__meta_kubernetes_pod_name"],
        "targetLabel": "instance",
    }
    assert (
        by_kind(values_of("monitoring"))["PodMonitor"]["metadata"]["labels"]["release"]
        == "kube-prometheus-stack"
    )


def test_the_rules_follow_the_label_job_of_another_monitor() -> None:
    first = rules({"prometheusRule": {"enabled": True, "job": "monitoring/pods"}})[0]
    assert 'scribe_open_jobs{namespace="voice",job="monitoring/pods"}' in first["expr"]
