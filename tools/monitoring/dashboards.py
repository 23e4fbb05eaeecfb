"""The dashboards as JSON of Grafana 11, built from `tools.monitoring.panels`."""

from typing import Any

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
)
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableRefresh

from tools.monitoring.panels import Board, Panel

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
SELECTOR = 'namespace=~"$namespace",job=~"$job"'
STAT_HEIGHT, LINE_HEIGHT = 3, 6
ANNOTATIONS = (
    ("Holds", "sum by (code) (changes(scribe_hold_start_timestamp_seconds{@}[1m])) > 0", "red"),
    ("Rebalances", "sum(increase(scribe_rebalances_total{@}[1m])) > 0", "blue"),
    ("Releases", "count by (version) (scribe_build_info{@} unless scribe_build_info{@} offset 1m)", "green"),
)


def selected(expression: str) -> str:
    """The query with the dashboard's selector in place of `@`, and with that of the model for `@@`."""
    return expression.replace("@@", SELECTOR + ',model=~"$model"').replace("@", SELECTOR)


def as_json(board: Board) -> str:
    """The dashboard as Grafana imports it; sorted, so that a change of it reads well."""
    built: Any = dashboard.Dashboard(board.title).uid(board.uid).description(board.description)
    built.tags(["scribe"]).refresh("30s").time("now-3h", "now").timezone("utc").readonly()
    for variable in _variables():
        built.with_variable(variable)
    for name, expression, colour in ANNOTATIONS:
        annotation = dashboard.AnnotationQuery().name(name).datasource(SOURCE).enable(enable=True)
        built.annotation(annotation.icon_color(colour).expr(selected(expression)))
    for panel in board.panels:
        built.with_panel(_panel(panel))
    return JSONEncoder(sort_keys=True, indent=2).encode(built.build()) + "\n"


def _variables() -> list[Any]:
    source = dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    query = "label_values(scribe_build_info{}, {})".format
    return [
        source,
        _variable("namespace", query("", "namespace")),
        _variable("job", query('{namespace=~"$namespace"}', "job")),
        _variable("model", "label_values(scribe_jobs_finished_total, model)"),
    ]


def _variable(name: str, query: str) -> Any:
    variable = dashboard.QueryVariable(name).datasource(SOURCE).query(query).multi(multi=True)
    # Outside Kubernetes there is no namespace: `.*` matches a label that is not there, too.
    return (
        variable.include_all(include_all=True).all_value(".*").refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    )


def _panel(panel: Panel) -> Any:
    built: Any = (_line(panel) if panel.is_line else _number()).title(panel.title)
    built.description(panel.question).unit(panel.unit).datasource(SOURCE).span(panel.width)
    built.height(LINE_HEIGHT if panel.is_line else STAT_HEIGHT)
    for letter, query in zip("ABCDEFGH", panel.queries, strict=False):
        target = prometheus.Dataquery().expr(selected(query.expression)).ref_id(letter)
        built.with_target(target.legend_format(query.legend or "__auto").exemplar(query.has_exemplars))
    return built


def _line(panel: Panel) -> Any:
    legend = common.VizLegendOptions().show_legend(show_legend=True).placement(LegendPlacement.BOTTOM)
    built = timeseries.Panel().min(0).fill_opacity(10).legend(legend.display_mode(LegendDisplayMode.LIST))
    return built.stacking(common.StackingConfig().mode(StackingMode.NORMAL)) if panel.is_stacked else built


def _number() -> Any:
    return stat.Panel().color_mode(BigValueColorMode.NONE)
