"""How figures look: colours that show on white and on near-black alike, quiet axes, text that cannot be markup."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from agenttts._util.hints import install
from agenttts._util.text import printable
from agenttts.errors import ConfigError

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLOURS = ("#2f7ed8", "#c8690a", "#1a8a5c", "#9a5fd0", "#cf4a5c", "#0e8c9b", "#857a3d", "#737c88")
"""Each has a contrast of at least 3 to white and to #14171a (WCAG 1.4.11)."""
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star", "hexagon")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
NEUTRAL = COLOURS[-1]
_GRID = "rgba(128, 136, 148, 0.25)"
_TEXT_WIDTH = 64
_SWITCH_PX = 48
_MOST_TEXT = 320


def graph_objects() -> Any:
    """The module `plotly.graph_objects`.

    Raises:
        ConfigError: When plotly is not installed.
    """
    try:
        import plotly.graph_objects
    except ImportError as error:
        raise ConfigError(f"figures need plotly: {install('report')}") from error
    return plotly.graph_objects


def safe(text: object) -> str:
    """Text for a figure: plotly reads labels and hover texts as markup, and what a model wrote is none."""
    return escape(printable(str(text)), quote=False)  # plotly would show &quot; as it is written


def hover(*lines: object) -> str:
    """A hover text of these lines, long ones cut and wrapped."""
    shown = [piece for line in lines for piece in wrap(_cut(printable(str(line))), _TEXT_WIDTH)]
    return "<br>".join(safe(piece) for piece in shown)


def faded(colour: str, opacity: float = 0.16) -> str:
    """The colour of a band around a line."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity})"


def panels(titles: Sequence[str], *, columns: int, x: str, y: str) -> Figure:
    """Empty panels side by side that share the vertical axis."""
    graph_objects()
    from plotly.subplots import make_subplots

    rows = -(-len(titles) // columns)
    figure = make_subplots(
        rows=rows,
        cols=min(columns, len(titles)),
        shared_yaxes="all",
        subplot_titles=[safe(title) for title in titles],
        horizontal_spacing=0.04,
        vertical_spacing=0.3 / rows,
    )
    figure.update_xaxes(title_text=safe(x))
    figure.update_yaxes(title_text=safe(y), col=1)
    return styled(figure, height=110 + 260 * rows, top=36 if any(titles) else 12)


def styled(figure: Figure, *, height: int, top: int = 12) -> Figure:
    """The same figure in our clothes, its legend below.

    Args:
        figure: Is changed.
        height: In pixels; the width is that of the page.
        top: Margin above the axes, in pixels.
    """
    axis = {"gridcolor": _GRID, "zerolinecolor": _GRID, "linecolor": _GRID, "automargin": True}
    title = {"standoff": 8, "font": {"size": 13}}
    figure.update_layout(
        template=graph_objects().layout.Template(),
        height=height,
        margin={"l": 60, "r": 16, "t": top, "b": 84},
        font={"family": "system-ui, -apple-system, 'Segoe UI', sans-serif", "size": 13, "color": "#3a424d"},
        paper_bgcolor="#ffffff",
        plot_bgcolor="rgba(0, 0, 0, 0)",
        legend={"orientation": "h", "x": 0, "y": 0, "yref": "container", "yanchor": "bottom", "traceorder": "normal"},
        hoverlabel={"align": "left", "font": {"size": 12}},
        colorway=COLOURS,
    )
    figure.update_xaxes(**axis, title=title)
    figure.update_yaxes(**axis, title=title)
    figure.update_annotations(font={"size": 13})
    return figure


def switched(figure: Figure, axes: Sequence[str]) -> Figure:
    """The same figure with a switch of its horizontal axis: of its traces, those whose `meta` is the axis are shown."""
    buttons = [
        {
            "label": axis,
            "method": "update",
            "args": [{"visible": [trace.meta == axis for trace in figure.data]}, {"xaxis.title.text": axis}],
        }
        for axis in axes
    ]
    place = {"x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom", "direction": "right", "pad": {"b": 8}}
    figure.update_traces(visible=False, selector=lambda trace: trace.meta != axes[0])
    figure.update_xaxes(title_text=axes[0])
    figure.update_layout(updatemenus=[{"type": "buttons", "buttons": buttons, **place}], margin_t=_SWITCH_PX)
    return figure


def _cut(line: str) -> str:
    return line if len(line) <= _MOST_TEXT else f"{line[:_MOST_TEXT]} ..."
