"""What figures are drawn with: dots, lines, bands and error bars. Texts are escaped here, numbers have five digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agenttts._util.stats import Interval
from agenttts.report.figures.style import faded, hover, safe
from agenttts.report.findings.findings import Findings
from agenttts.study.trial import Trial

Numbers = Sequence[float]


def dots(figure: Any, name: str, xs: Numbers, ys: Sequence[Any], texts: Sequence[str], **options: Any) -> None:
    """Markers with hover texts (made by `hover`); without any, the legend still shows what they would be."""
    figure.add_scatter(
        x=rounded(xs) or [None],
        y=rounded(ys) or [None],
        name=safe(name),
        mode="markers",
        hovertext=list(texts),
        hoverinfo="text",
        **options,
    )


def line(figure: Any, name: str, xs: Numbers, ys: Numbers, *, pen: Mapping[str, Any], **options: Any) -> None:
    """A line; `options` may give it hover texts."""
    quiet = {} if "hovertext" in options else {"hoverinfo": "skip"}
    mode = "markers" if len(xs) == 1 else "lines"  # a line of one point would not be seen
    figure.add_scatter(
        x=rounded(xs) or [None], y=rounded(ys) or [None], name=safe(name), mode=mode, line=pen, **quiet, **options
    )


def band(figure: Any, xs: Numbers, bounds: Sequence[Interval], colour: str, *, shape: str, **place: Any) -> None:
    """The area between bounds; nothing where there is one point."""
    if len(xs) == 1:
        return
    pen = {"width": 0, "shape": shape}
    line(figure, "", xs, [each.low for each in bounds], pen=pen, showlegend=False, **place)
    fill = {"fill": "tonexty", "fillcolor": faded(colour)}
    line(figure, "", xs, [each.high for each in bounds], pen=pen, showlegend=False, **fill, **place)


def bars(scores: Numbers, bounds: Sequence[Interval], colour: str) -> dict[str, Any]:
    """Error bars of scores."""
    return {
        "type": "data",
        "array": rounded([each.high - score for score, each in zip(scores, bounds, strict=True)]),
        "arrayminus": rounded([score - each.low for score, each in zip(scores, bounds, strict=True)]),
        "color": colour,
        "thickness": 1.2,
        "width": 0,
    }


def told(found: Findings, trial: Trial) -> str:
    """The hover text of a trial."""
    score, bounds = found.expected[trial.number]
    evaluation = trial.evaluation
    return hover(
        f"trial {trial.number}",
        *(f"{name}: {choice}" for name, choice in trial.allocation.items()),
        f"cost {found.scale.show(trial.cost)}",
        f"expected {score:.3f} ({bounds.low:.3f} to {bounds.high:.3f})",
        f"observed {evaluation.score:.3f} on {len(evaluation.results)} examples",
        f"why: {trial.rationale}",
    )


def rounded(values: Sequence[Any]) -> list[Any]:
    """Five digits: more than a figure shows, and as many on every machine. Texts and None stay as they are."""
    return [float(f"{value:.5g}") if isinstance(value, int | float) else value for value in values]
