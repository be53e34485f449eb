"""Figures of studies: each function returns a plotly figure, for a notebook or for the page (extra `report`)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

from agenttts._util.numbers import counted
from agenttts._util.stats import Interval
from agenttts.report.figures.marks import band, bars, dots, line, rounded, told
from agenttts.report.figures.style import (
    COLOURS,
    DASHES,
    NEUTRAL,
    SYMBOLS,
    graph_objects,
    hover,
    panels,
    safe,
    styled,
    switched,
)
from agenttts.report.findings.best_so_far import BestSoFar, axes, best_so_far
from agenttts.report.findings.cost_shares import cost_shares
from agenttts.report.findings.evidence import weighed_models
from agenttts.report.findings.findings import Findings
from agenttts.report.findings.scaling import Curve, scaling_curves
from agenttts.study.trial import Trial

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_SIGHTED = {"color": COLOURS[1], "symbol": "diamond-open", "size": 13, "line": {"width": 2.5}}
"""How a figure marks the recommended allocation."""
_KNEE = {"color": COLOURS[3], "symbol": "triangle-down", "size": 12}
_BASELINE = {"color": COLOURS[2], "symbol": "square-open", "size": 12, "line": {"width": 2.5}}
_PARTS = ("prompt", "generation", "aggregation")


def progress_figure(*findings: Findings) -> Figure:
    """The expected score of what would have been recommended, against trials, example evaluations or tokens.

    One panel, with a switch of its axis. Of one study with the interval of the true score; of several, the mean over
    the seeds of each method with its interval. Tokens are those paid for, or, of a comparison or a recording, those
    that every trial from scratch takes.

    Examples:
        >>> from agenttts import report
        >>> report.progress_figure(found).write_html("progress.html")
    """
    shown, figure = axes(findings), graph_objects().Figure()
    for axis in shown:
        for each, colour, dash in zip(best_so_far(findings, axis), cycle(COLOURS), cycle(DASHES), strict=False):
            _add_progress(figure, each, colour, dash, axis=axis, legend=len(findings) > 1)
    figure.update_xaxes(rangemode="tozero")
    figure.update_yaxes(title_text="expected score of the best")
    return switched(styled(figure, height=380), shown)


def budget_figure(found: Findings) -> Figure:
    """Where the cost of one query goes: each stage's prompt, samples and aggregation, beside those of the baseline.

    Examples:
        >>> from agenttts import report
        >>> report.budget_figure(found).write_html("budget.html")
    """
    figure, shares = graph_objects().Figure(), cost_shares(found)
    for place, part in enumerate(_PARTS):
        costs = [each.parts[place] * found.scale.factor for each in shares]
        if any(costs):
            texts = [hover(f"{each.label}, {part}: {found.scale.show(each.parts[place])}") for each in shares]
            figure.add_bar(
                x=rounded(costs), y=[safe(each.label) for each in shares], name=part, orientation="h",
                marker={"color": COLOURS[place]}, hovertext=texts, hoverinfo="text",
            )  # fmt: skip
    figure.update_layout(barmode="stack", yaxis={"autorange": "reversed"}, bargap=0.35)
    figure.update_xaxes(title_text=f"{safe(found.scale.unit)} per query", rangemode="tozero")
    return styled(figure, height=130 + 46 * len(shares))


def scaling_figure(found: Findings, subtask: str) -> Figure:
    """The scaling curves of one stage, a panel per model: posterior, trials, winner, fitted curve and its knee.

    Examples:
        >>> from agenttts import report
        >>> report.scaling_figure(found, "find").write_html("scaling.html")
    """
    curves = scaling_curves(found, subtask)
    titles = [curve.model for curve in curves] or ["no model"]
    figure = panels(titles, columns=3, x=f"samples at {subtask}", y="score of the pipeline")
    for number, curve in enumerate(curves):
        place = {"row": number // 3 + 1, "col": number % 3 + 1, "showlegend": number == 0}
        _add_curve(figure, curve, **place)
        _add_samples(figure, found, curve, **place)
    return figure


def frontier_figure(found: Findings) -> Figure:
    """Expected score against cost: all trials, the Pareto frontier, and what is recommended within each budget.

    Examples:
        >>> from agenttts import report
        >>> report.frontier_figure(found).write_html("frontier.html")
    """
    figure, frontier = graph_objects().Figure(), found.frontier
    best = [trial for trial, _ in frontier.pareto]
    others = [trial for trial in found.trials if trial not in best]
    _add_trials(figure, found, "other trials", others, {"color": NEUTRAL, "symbol": "circle-open", "size": 8})
    expected = [found.expected[trial.number] for trial in best]
    intervals = bars([each.score for each in expected], [each.interval for each in expected], COLOURS[0])
    marker = {"color": COLOURS[0], "size": 8}
    _add_trials(figure, found, "Pareto-optimal trials", best, marker, error_y=intervals)
    factor = found.scale.factor
    costs, scores = [trial.cost * factor for trial in best], [each.score for each in expected]
    line(figure, "Pareto frontier", costs, scores, pen={"color": COLOURS[0], "shape": "hv", "width": 2})
    _add_trials(figure, found, "recommended", [point.trial for point in frontier.points], _SIGHTED)
    if found.archive.baseline is not None:
        _add_trials(figure, found, "baseline", [found.archive.baseline], _BASELINE)
    for budget in found.study.spec.budgets or (found.study.spec.budget,):
        figure.add_vline(x=budget * factor, line={"dash": "dot", "color": NEUTRAL, "width": 1.5})
        figure.add_annotation(
            x=budget * factor,
            y=1,
            yref="paper",
            yanchor="bottom",
            text=f"budget {found.scale.number(budget)}",
            showarrow=False,
        )
    figure.update_xaxes(title_text=f"cost of one query ({safe(found.scale.unit)})")
    figure.update_yaxes(title_text="score of the pipeline")
    return styled(figure, height=440, top=28)


def recommended_figure(*findings: Findings) -> Figure:
    """What each study recommends: its score on held-out examples (those searched where there are none).

    Examples:
        >>> from agenttts import report
        >>> report.recommended_figure(found).write_html("recommended.html")
    """
    figure = graph_objects().Figure()
    for row, colour, symbol in zip(sorted({f.row for f in findings}), cycle(COLOURS), cycle(SYMBOLS), strict=False):
        mine = [found for found in findings if found.row == row]
        evaluations = [found.validation or found.best.evaluation for found in mine]
        scores = [evaluation.score for evaluation in evaluations]
        dots(
            figure, row, scores, [safe(f"{row}, seed {found.study.spec.seed}") for found in mine],
            [hover(found.name, found.best.allocation) for found in mine], showlegend=False,
            error_x=bars(scores, [each.interval for each in evaluations], colour),
            marker={"color": colour, "symbol": symbol, "size": 10},
        )  # fmt: skip
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(title_text="score")
    return styled(figure, height=110 + 30 * len(findings))


def preference_figure(found: Findings) -> Figure:
    """Insight 1 as a guideline states it: each model at its best within the budget, stage by stage.

    Examples:
        >>> from agenttts import report
        >>> report.preference_figure(found).write_html("preference.html")
    """
    figure, weighed = graph_objects().Figure(), weighed_models(found)
    for name, symbol, shown in (
        ("first of its stage", "circle", [each for each in weighed if each.chance is not None]),
        ("the others", "circle-open", [each for each in weighed if each.chance is None]),
    ):
        scores = [each.expected.score for each in shown]
        dots(
            figure, name, scores, [safe(f"{each.subtask}: {each.choice}") for each in shown], [hover(e) for e in shown],
            error_x=bars(scores, [each.expected.interval for each in shown], COLOURS[0]),
            marker={"color": COLOURS[0], "size": 10, "symbol": symbol},
        )  # fmt: skip
    order = [safe(f"{each.subtask}: {each.choice}") for each in weighed]
    figure.update_yaxes(categoryorder="array", categoryarray=order, autorange="reversed")
    figure.update_xaxes(title_text="expected score")
    return styled(figure, height=120 + 34 * len(weighed))


def _add_progress(figure: Any, each: BestSoFar, colour: str, dash: str, *, axis: str, legend: bool) -> None:
    xs, scores = [point.taken for point in each.reached], [point.score for point in each.reached]
    bounds = [point.interval or Interval(point.score, point.score) for point in each.reached]
    band(figure, xs, bounds, colour, shape="hv", meta=axis)
    shown = zip(xs, scores, bounds, strict=True)
    texts = [hover(each.row, f"{x:,.0f}: {y:.3f} ({low:.3f} to {high:.3f})") for x, y, (low, high) in shown]
    single = {"error_y": bars(scores, bounds, colour)} if len(scores) == 1 else {}
    line(
        figure, f"{each.row}, {counted(each.seeds, 'seed')}", xs, scores,
        pen={"color": colour, "dash": dash, "shape": "hv", "width": 2.5}, legendgroup=safe(each.row),
        showlegend=legend, hovertext=texts, hoverinfo="text", meta=axis, **single,
    )  # fmt: skip


def _add_curve(figure: Any, curve: Curve, **place: Any) -> None:
    """The posterior, the curve fitted to it, and the knee of that."""
    scores, bounds = [each.score for each in curve.expected], [each.interval for each in curve.expected]
    shown = zip(curve.counts, scores, bounds, strict=True)
    texts = [hover(f"x{count}: {score:.3f} ({low:.3f} to {high:.3f})") for count, score, (low, high) in shown]
    band(figure, curve.counts, bounds, COLOURS[0], shape="linear", row=place["row"], col=place["col"])
    single = {"error_y": bars(scores, bounds, COLOURS[0])} if len(scores) == 1 else {}
    line(
        figure, "expected, others as recommended", curve.counts, scores, pen={"color": COLOURS[0], "width": 2.5},
        hovertext=texts, hoverinfo="text", legendgroup="expected", **single, **place,
    )  # fmt: skip
    fitted = curve.fitted
    pen = {"color": COLOURS[1], "dash": "dash", "width": 2}
    line(figure, "fitted curve", list(fitted), list(fitted.values()), pen=pen, legendgroup="fit", **place)
    knees = [] if curve.knee is None else [curve.knee]
    heights, said = [fitted[n] for n in knees], [hover(f"knee: flat from {n} samples on") for n in knees]
    dots(figure, "its knee", knees, heights, said, marker=_KNEE, legendgroup="knee", **place)


def _add_samples(figure: Any, found: Findings, curve: Curve, **place: Any) -> None:
    """The trials of the curve's model, and the axis that they share with it."""
    for name, trials, marker in (
        ("trials on the curve", curve.on_curve, {"color": COLOURS[0], "size": 8}),
        ("trials whose other stages differ", curve.elsewhere, {"color": NEUTRAL, "symbol": "circle-open", "size": 7}),
    ):
        counts = [trial.allocation[curve.subtask].samples for trial in trials]
        scores = [trial.evaluation.score for trial in trials]
        texts = [told(found, trial) for trial in trials]
        dots(figure, name, counts, scores, texts, marker=marker, legendgroup=name, **place)
    choice = found.best.allocation[curve.subtask]
    won = [found.best] if choice.pairing == curve.model else []
    dots(
        figure, "recommended", [choice.samples for _ in won], [trial.evaluation.score for trial in won],
        [told(found, trial) for trial in won], marker=_SIGHTED, legendgroup="recommended", **place,
    )  # fmt: skip
    seen = [trial.allocation[curve.subtask].samples for trial in (*curve.on_curve, *curve.elsewhere)]
    ticks = _ticks([*curve.counts, *seen])
    figure.update_xaxes(
        type="log", tickvals=ticks, ticktext=[str(n) for n in ticks], row=place["row"], col=place["col"]
    )


def _add_trials(
    figure: Any, found: Findings, name: str, trials: Sequence[Trial], marker: dict[str, Any], **options: Any
) -> None:
    """Trials at their expected score."""
    costs = [trial.cost * found.scale.factor for trial in trials]
    scores = [found.expected[trial.number].score for trial in trials]
    dots(figure, name, costs, scores, [told(found, trial) for trial in trials], marker=marker, **options)


def _ticks(counts: Sequence[int]) -> list[int]:
    """Powers of two."""
    return [2**n for n in range(12) if min(counts) <= 2**n <= max(counts)] or [counts[0]]
