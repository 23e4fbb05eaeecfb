"""Dashboards and alerts: in step with the code, of metrics that exist, and each panel answers a question."""

import json
import re
from pathlib import Path

import pytest
import yaml

from service.app.status_collector import SUSPENDED
from service.observability.metric_definitions import HOLD_CODES, OTHER
from service.observability.shard_gauges import UNPROVEN
from service.pipeline.assignment.assigned_partition import PartitionState
from tools import generate_monitoring
from tools.monitoring.alerts import ALERTS, Alert
from tools.monitoring.dashboards import ANNOTATIONS, as_json, selected
from tools.monitoring.panels import BOARDS, Board, Panel
from tools.monitoring.rules import RECORDINGS, groups, scaled
from tools.pages.alerts import alerts_page
from tools.pages.metric_series import all_series
from tools.pages.metrics import metrics_page

RULES = [each.expression for each in ALERTS] + [each.expression for each in RECORDINGS]
PANELS = [(board, panel) for board in BOARDS for panel in board.panels]
_NAME = re.compile(r"\bscribe[_:][a-z0-9_:]+")
_SUFFIX = re.compile(r"_(bucket|sum|count)$")
PAGE = metrics_page()
KNOWN = {*re.findall(r"^\| `(scribe_[a-z_]+)` \|", PAGE, re.MULTILINE), *(each.name for each in RECORDINGS)}
OPERATIONS = Path("docs/operations.md").read_text("utf-8")
SECTIONS = {
    re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
    for heading in re.findall(r"^#+ (.+)$", OPERATIONS, re.MULTILINE)
}


def unknown_names(expression: str) -> set[str]:
    """What an expression names and no metric or recording rule is."""
    names = set(_NAME.findall(expression))
    return {name for name in names if not KNOWN & {name, _SUFFIX.sub("", name)}}


def test_the_files_of_the_chart_are_what_the_code_says() -> None:
    assert generate_monitoring.stale_files() == [], "run: make docs"


def test_a_file_that_differs_or_that_nothing_writes_is_found(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "old.yaml").write_text("")
    stale = {path.name for path in generate_monitoring.stale_files(tmp_path)}
    assert stale == {"old.yaml", "scribe.yaml", *(f"{board.uid}.json" for board in BOARDS)}


def test_every_expression_names_metrics_that_exist() -> None:
    expressions = [query.expression for _, panel in PANELS for query in panel.queries]
    expressions += RULES
    assert {name for each in expressions for name in unknown_names(each)} == set()
    assert unknown_names("rate(scribe_no_such_thing_total[5m])") == {"scribe_no_such_thing_total"}


OF_A_SCRAPE = frozenset({"namespace", "job", "instance"})
_METRIC = re.compile(r"\b(?:(?:scribe|process)[_:][a-z0-9_:]+|ALERTS)\b")
_SELECTED = re.compile(r"([A-Za-z0-9_:]+)\{([^}]*)\}")
_MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
_KEPT = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right) \(([^)]*)\)")


def closed_labels() -> tuple[dict[str, set[str]], dict[tuple[str, str], set[str]]]:
    """The labels of each series, and the values of each label: where there is a closed set, all of them."""
    names: dict[str, set[str]] = {"ALERTS": {"alertname", "alertstate", "severity"}}
    values: dict[tuple[str, str], set[str]] = {}
    samples = [sample for family in all_series(1, ("fun-asr",)).collect() for sample in family.samples]
    for sample in samples:
        names.setdefault(sample.name, set()).update(sample.labels)
        for label, value in sample.labels.items():
            values.setdefault((sample.name, label), set()).add(str(value))
    for each in RECORDINGS:
        kept = _KEPT.search(each.expression)
        names[each.name] = set(kept[1].split(", ")) - OF_A_SCRAPE if kept else set()
        metric, _ = (_SELECTED.findall(each.expression) or [(_NAME.findall(each.expression)[0], "")])[0]
        for label in names[each.name]:
            values[each.name, label] = values[metric, label]
    values["scribe_shard_state", "state"] = {*PartitionState, UNPROVEN, SUSPENDED}
    for name in ("scribe_hold", "scribe_hold_start_timestamp_seconds"):
        values[name, "code"] = {*HOLD_CODES, OTHER}
    values["ALERTS", "alertname"] = {each.name for each in ALERTS}
    values["ALERTS", "alertstate"] = {"firing", "pending"}
    return names, values


LABELS, VALUES = closed_labels()


def wrong_labels(expression: str) -> set[str]:
    """The labels that no metric of the expression has, and the values that a label can not have."""
    metrics = _METRIC.findall(expression)
    known = OF_A_SCRAPE.union(*(LABELS.get(name, set()) for name in metrics))
    wrong = {label for kept in _KEPT.findall(expression) for label in re.split(r",\s*", kept)} - known - {""}
    for metric, matchers in _SELECTED.findall(expression):
        for label, value in _MATCHER.findall(matchers):
            if label not in LABELS.get(metric, set()) | OF_A_SCRAPE:
                wrong.add(f"{metric}{{{label}}}")
            elif label not in OF_A_SCRAPE and "$" not in value:
                found = VALUES[metric, label]
                alternatives = value.split("|")
                wrong |= {each for each in alternatives if not any(re.fullmatch(each, one) for one in found)}
    return wrong


def test_every_label_exists_and_every_value_that_is_asked_for_can_be() -> None:
    expressions = [selected(query.expression) for _, panel in PANELS for query in panel.queries]
    expressions += [selected(expression) for _, expression, _ in ANNOTATIONS]
    expressions += [scaled(each, 1) for each in RULES]
    assert {each: wrong for each in expressions if (wrong := wrong_labels(each))} == {}


def test_every_label_in_the_name_of_a_line_is_one_of_its_query() -> None:
    for _, panel in PANELS:
        for query in panel.queries:
            kept = {each for found in _KEPT.findall(query.expression) for each in found.split(", ")}
            named = set(re.findall(r"\{\{(\w+)\}\}", query.legend))
            assert named <= kept | {"instance"}, panel.title


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("sum by (reason) (scribe_open_jobs)", {"reason"}),
        ("sum by (partition, state) (scribe_open_jobs)", set()),
        ("a and on (stat) scribe_open_jobs", {"stat"}),
        ('scribe_open_jobs{reason="quota"}', {"scribe_open_jobs{reason}"}),
        ('scribe_ready{state="ready"}', {"scribe_ready{state}"}),
        ('scribe_shard_state{state="redy",instance="a"}', {"redy"}),
        ('scribe_waiting_jobs{reason!~"spend_limit|setle"}', {"setle"}),
        ('scribe_failures_total{code=~"result_.*",fault="provider"}', set()),
        ('scribe_failures_total{code=~"results_.*",fault="providers"}', {"results_.*", "providers"}),
        ('scribe:waiting_jobs:sum{reason="holt",model=~"$model"}', {"holt"}),
        ('ALERTS{alertname=~"Scribe.*",alertstate="fires"}', {"fires"}),
        ("rate(process_cpu_seconds_total[5m]) and on (instance) scribe_build_info", set()),
    ],
)
def test_a_label_or_a_value_that_cannot_be_is_found(expression: str, wrong: set[str]) -> None:
    assert wrong_labels(expression) == wrong


def test_every_metric_is_shown_by_a_panel_or_watched_by_an_alert() -> None:
    """A metric that nobody looks at answers no question; these are for a look at one thing by hand."""
    by_hand = {
        "scribe_account_known",
        "scribe_audio_seconds_total",
        "scribe_batch_records",
        "scribe_cancels_dropped_total",
        "scribe_clock_steps_total",
        "scribe_cost_total",
        "scribe_group_losses_total",
        "scribe_holds_total",
        "scribe_journal_unread_total",
        "scribe_open_jobs_limit",
        "scribe_provider_outage_start_timestamp_seconds",
        "scribe_provider_outages_total",
        "scribe_provider_unknown_codes_total",
        "scribe_request_records_total",
        "scribe_spans_total",
        "scribe_stage_stops_total",
        "scribe_tokens_total",
    }
    everything = "".join(as_json(board) for board in BOARDS) + json.dumps(groups())
    shown = {_SUFFIX.sub("", name) for name in _NAME.findall(everything)}
    metrics = KNOWN - {each.name for each in RECORDINGS}
    assert metrics - shown == by_hand


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=lambda each: getattr(each, "title", None))
def test_each_panel_has_a_unit_and_the_question_it_answers(board: Board, panel: Panel) -> None:
    assert "?" in panel.question
    assert panel.unit in {"short", "s", "ops", "bytes", "percentunit"}
    assert 24 % panel.width == 0
    shown = next(each for each in json.loads(as_json(board))["panels"] if each["title"] == panel.title)
    assert shown["description"] == panel.question
    assert shown["fieldConfig"]["defaults"]["unit"] == panel.unit
    assert all(query.legend for query in panel.queries) or not panel.is_line


def test_panels_ask_for_the_exemplars_of_all_histograms_that_have_some() -> None:
    paragraph = next(line for line in OPERATIONS.splitlines() if line.startswith("**Exemplars**"))
    targets = [
        target
        for board in BOARDS
        for panel in json.loads(as_json(board))["panels"]
        for target in panel["targets"]
        if target.get("exemplar")
    ]
    asked = {_SUFFIX.sub("", name) for target in targets for name in _NAME.findall(target["expr"])}
    assert asked == set(_NAME.findall(paragraph))


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_a_dashboard_fits_one_screen_and_selects_namespace_release_and_model(board: Board) -> None:
    made = json.loads(as_json(board))
    assert max(each["gridPos"]["y"] + each["gridPos"]["h"] for each in made["panels"]) <= 24
    names = [each["name"] for each in made["templating"]["list"]]
    assert names == ["datasource", "namespace", "job", "model"]
    assert [each["name"] for each in made["annotations"]["list"]] == ["Holds", "Rebalances", "Releases"]
    expressions = [target["expr"] for each in made["panels"] for target in each["targets"]]
    assert all("@" not in each for each in expressions)
    assert all("$namespace" in each for each in expressions if "ALERTS" not in each)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_each_alert_leads_to_a_section_of_the_operations_page(alert: Alert) -> None:
    assert alert.section in SECTIONS


def test_hours_pass_in_minutes_with_a_factor() -> None:
    assert scaled('x[30m] > ~3600 and y{le="5"} > 3', 1 / 60) == 'x[30s] > 60 and y{le="5"} > 3'
    assert scaled("x[2s] > 14400", 1 / 60) == "x[1s] > 14400"
    assert scaled("x[1d] > 1", 1 / 60) == "x[1440s] > 1"
    assert scaled("x[6h:5m] > 1", 1 / 60) == "x[360s:5s] > 1"
    assert scaled("x[1h] > ~120", 1) == "x[1h] > 120"
    assert scaled("0m", 1 / 60) == "0m"


def test_the_page_of_alerts_has_the_expressions_of_the_rule_file() -> None:
    page = alerts_page()
    for each in RULES:
        assert f"`{scaled(each, 1)}`" in page


def test_the_rule_file_is_yaml_that_prometheus_can_read() -> None:
    read = yaml.safe_load(Path("helm/rules/scribe.yaml").read_text("utf-8"))
    assert read == json.loads(json.dumps(groups()))
