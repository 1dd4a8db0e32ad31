"""The few kinds of panels that the dashboards are made of, each with its unit and its description.

Words and shapes are those of Grafana 11.6 (``grafana-foundation-sdk``, one release of it a Grafana).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from grafana_foundation_sdk.builders import bargauge, statetimeline, table, timeseries
from grafana_foundation_sdk.builders import common as options
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import stat as stat_panel
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery as AnyQuery
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueGraphMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
"""The Prometheus that the dashboard's variable names: any Grafana can take the files as they are."""

Steps = Sequence[tuple[float | None, str]]
"""From which value on a panel has which colour; the first step begins at None."""

GREEN: Steps = ((None, "green"),)
NONE_IS_GOOD: Steps = ((None, "green"), (1, "red"))

Panel = TypeVar(
    "Panel", stat_panel.Panel, timeseries.Panel, bargauge.Panel, table.Panel, statetimeline.Panel
)


@dataclass(frozen=True, slots=True)
class Query:
    """One expression, and what its series are called."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What each panel must say of itself. ``unit`` is one of Grafana's names of units."""

    title: str
    unit: str
    text: str
    width: int = 8
    height: int = 8
    decimals: int | None = None
    steps: Steps = GREEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How lines are drawn. ``right`` names a series on an axis of its own, with its unit."""

    stacked: bool = False
    limits: bool = False
    maximum: float | None = None
    colours: Mapping[str, str] = field(default_factory=dict)
    right: tuple[str, str] | None = None
    of_cameras: bool = False


def number(about: About, query: Query) -> stat_panel.Panel:
    """One figure as it is now, coloured by its thresholds."""
    panel = (
        stat_panel.Panel().graph_mode(BigValueGraphMode.NONE).color_mode(BigValueColorMode.VALUE)
    )
    panel.reduce_options(_last())
    return _framed(panel, about).targets([_target(query, "A").instant()])


def lines(about: About, *queries: Query, look: Look | None = None) -> timeseries.Panel:
    """Figures over time."""
    look = look or Look()
    panel = _framed(timeseries.Panel(), about).targets(_targets(queries))
    panel.fill_opacity(60 if look.stacked else 8).show_points(VisibilityMode.NEVER)
    panel.axis_soft_min(0).legend(_legend()).tooltip(_tooltip())
    panel.color_scheme(build.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
    if look.stacked:
        panel.stacking(options.StackingConfig().mode(StackingMode.NORMAL))
    if look.limits:
        panel.thresholds_style(
            options.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
        )
    if look.maximum is not None:
        panel.max(look.maximum)
    if look.of_cameras:
        panel.data_links([_to_camera("${__field.labels.camera}")])
    return _overridden(panel, look)


def bars(about: About, query: Query, *, of_cameras: bool = False) -> bargauge.Panel:
    """One bar a series, as it is now."""
    panel = _framed(bargauge.Panel(), about).targets([_target(query, "A").instant()])
    if of_cameras:
        panel.data_links([_to_camera("${__field.labels.camera}")])
    return (
        panel.orientation(VizOrientation.HORIZONTAL)
        .reduce_options(_last())
        .display_mode(BarGaugeDisplayMode.BASIC)
        .min(0)
        .no_value("none")
    )


def rows(
    about: About, query: Query, *, hidden: Sequence[str] = (), of_cameras: bool = False
) -> table.Panel:
    """A table of the series that there are, one column a label."""
    target = _target(query, "A").instant().format(PromQueryFormat.TABLE)
    panel = _framed(table.Panel(), about).targets([target]).no_value("none").filterable(True)
    left_out = dict.fromkeys(["Time", "__name__", "instance", "job", *hidden], True)
    panel.with_transformation(
        DataTransformerConfig(id_val="organize", options={"excludeByName": left_out})
    )
    if of_cameras:
        link = {"title": "This camera", "url": _camera_url("${__value.raw}")}
        panel.override_by_name("camera", [DynamicConfigValue(id_val="links", value=[link])])
    return panel


def states(about: About, query: Query, words: Mapping[str, str]) -> statetimeline.Panel:
    """What was so and when: one row a series, in the colour that ``words`` gives to its name."""
    panel = _framed(statetimeline.Panel(), about).targets([_target(query, "A")])
    panel.mappings(
        [ValueMap({"1": ValueMappingResult(text="so"), "0": ValueMappingResult(text="")})]
    )
    panel.show_value(VisibilityMode.NEVER).legend(options.VizLegendOptions().show_legend(False))
    for name, colour in words.items():
        panel.override_by_name(name, [_fixed(colour)])
    return panel


def _framed(panel: Panel, about: About) -> Panel:
    panel.title(about.title).description(about.text).datasource(SOURCE)
    panel.unit(about.unit).span(about.width).height(about.height)
    steps = [Threshold(value=value, color=colour) for value, colour in about.steps]
    panel.thresholds(build.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    if about.decimals is not None:
        panel.decimals(about.decimals)
    return panel


def _targets(queries: Sequence[Query]) -> list[Builder[AnyQuery]]:
    return [_target(query, chr(ord("A") + at)).range() for at, query in enumerate(queries)]


def _target(query: Query, ref_id: str) -> Dataquery:
    target = Dataquery().expr(query.expr).legend_format(query.legend).ref_id(ref_id)
    return target.datasource(SOURCE)


def _overridden(panel: timeseries.Panel, look: Look) -> timeseries.Panel:
    for name, colour in look.colours.items():
        panel.override_by_name(name, [_fixed(colour)])
    if look.right is not None:
        name, unit = look.right
        axis = DynamicConfigValue(id_val="custom.axisPlacement", value="right")
        panel.override_by_name(name, [axis, DynamicConfigValue(id_val="unit", value=unit)])
    return panel


def _fixed(colour: str) -> DynamicConfigValue:
    return DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": colour})


def _last() -> options.ReduceDataOptions:
    return options.ReduceDataOptions().calcs(["lastNotNull"])


def _legend() -> options.VizLegendOptions:
    legend = options.VizLegendOptions().show_legend(True).placement(LegendPlacement.BOTTOM)
    return legend.display_mode(LegendDisplayMode.TABLE).calcs(["lastNotNull", "max"])


def _tooltip() -> options.VizTooltipOptions:
    return options.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)


def _to_camera(camera: str) -> build.DashboardLink:
    link = build.DashboardLink("This camera").type(DashboardLinkType.LINK)
    return link.url(_camera_url(camera))


def _camera_url(camera: str) -> str:
    return f"/d/streamwarden-camera?var-camera={camera}&${{__url_time_range}}"
