"""Figures of studies: each function returns a plotly figure, for a notebook or for the page (extra `report`)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

from agenttts.report.evidence import weighed_models
from agenttts.report.findings import Findings
from agenttts.report.progress import Against, Progress, progress
from agenttts.report.scaling import Curve, scaling_curves
from agenttts.report.style import (
    COLOURS,
    DASHES,
    NEUTRAL,
    SYMBOLS,
    faded,
    graph_objects,
    hover,
    panels,
    safe,
    styled,
)
from agenttts.trial import Interval, Trial

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_KNEE = {"color": COLOURS[1], "symbol": "diamond-open", "size": 13, "line": {"width": 2.5}}
_ELSEWHERE = {"color": NEUTRAL, "symbol": "circle-open", "size": 7}
_PARTS = ("prompt", "generation", "aggregation")


def progress_figure(*findings: Findings) -> Figure:
    """The expected score of the best trial so far, against trials, example evaluations and tokens.

    Of one study with the interval of the true score; of several, the mean over the seeds of each method with its
    interval. Tokens are those bought, or, to compare, those that every trial from scratch would take.
    """
    tokens: Against = "tokens bought" if len(findings) == 1 else "tokens from scratch"
    if len(findings) == 1 and findings[0].recorded:
        tokens = "tokens from scratch"
    axes: tuple[Against, ...] = ("trials", "example evaluations", tokens)
    figure = panels([""] * len(axes), columns=3, x="", y="expected score of the best")
    for column, axis in enumerate(axes, start=1):
        figure.update_xaxes(title_text=axis, rangemode="tozero", nticks=5, col=column)
        for each, colour, dash in zip(progress(findings, axis), cycle(COLOURS), cycle(DASHES), strict=False):
            _add_progress(figure, each, colour, dash, column=column, legend=column == 1 and len(findings) > 1)
    return figure


def budget_figure(found: Findings) -> Figure:
    """Where the cost of one query of the recommended allocation goes: each stage's prompt, samples and aggregation."""
    go = graph_objects()
    figure = go.Figure()
    best = found.best.allocation
    stages = [name for name in best if name in found.prices]
    parts = {name: found.prices[name][best[name].model].parts(best[name].samples) for name in stages}
    labels = [safe(f"{name}: {best[name]}") for name in stages]
    for place, part in enumerate(_PARTS):
        costs = [_round(parts[name][place]) for name in stages]
        if any(costs):
            texts = [hover(f"{name}, {part}: {cost:.4g} {found.unit}") for name, cost in zip(stages, costs, strict=True)]
            figure.add_bar(
                x=costs, y=labels, name=part, orientation="h", marker={"color": COLOURS[place]}, hovertext=texts,
                hoverinfo="text",
            )  # fmt: skip
    figure.update_layout(barmode="stack", yaxis={"autorange": "reversed"}, bargap=0.35)
    figure.update_xaxes(title_text=f"cost of one query ({safe(found.unit)})", rangemode="tozero")
    return styled(figure, height=130 + 46 * len(stages))


def scaling_figure(found: Findings, subtask: str) -> Figure:
    """The scaling curves of one stage, a panel per model: posterior, trials, fitted curve and its knee."""
    curves = scaling_curves(found, subtask)
    titles = [curve.model for curve in curves] or ["no model"]
    figure = panels(titles, columns=3, x=f"samples at {subtask}", y="score of the pipeline")
    for place, curve in enumerate(curves):
        _add_curve(figure, found, curve, row=place // 3 + 1, column=place % 3 + 1, legend=place == 0)
    return figure


def frontier_figure(found: Findings) -> Figure:
    """Expected score against cost: all trials, the Pareto frontier, and what is recommended within each budget."""
    figure, spec = graph_objects().Figure(), found.study.spec
    _add_frontier(figure, found)
    for budget in spec.budgets or (spec.budget,):
        figure.add_vline(x=budget, line={"dash": "dot", "color": NEUTRAL, "width": 1.5})
        figure.add_annotation(
            x=budget, y=0, yref="paper", yanchor="bottom", text=f"budget {budget:g}", showarrow=False, textangle=-90,
            xanchor="right",
        )  # fmt: skip
    figure.update_xaxes(title_text=f"cost of one query ({safe(found.unit)})")
    figure.update_yaxes(title_text="score of the pipeline")
    return styled(figure, height=440)


def recommended_figure(*findings: Findings) -> Figure:
    """What each study recommends: its score on held-out examples (those searched where there are none)."""
    figure = graph_objects().Figure()
    for row, colour, symbol in zip(sorted({f.row for f in findings}), cycle(COLOURS), cycle(SYMBOLS), strict=False):
        mine = [found for found in findings if found.row == row]
        evaluations = [found.validation or found.best.evaluation for found in mine]
        scores = [evaluation.score for evaluation in evaluations]
        figure.add_scatter(
            x=[_round(score) for score in scores],
            y=[safe(f"{row}, seed {found.study.spec.seed}") for found in mine],
            error_x=_bars(scores, [each.interval for each in evaluations], colour),
            name=safe(row), mode="markers", marker={"color": colour, "symbol": symbol, "size": 10},
            hovertext=[hover(found.name, found.best.allocation) for found in mine], hoverinfo="text", showlegend=False,
        )  # fmt: skip
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(title_text="score of the recommended allocation")
    return styled(figure, height=110 + 30 * len(findings))


def preference_figure(found: Findings) -> Figure:
    """Insight 1 as the last guideline states it: each model at its best within the budget, stage by stage."""
    figure, weighed = graph_objects().Figure(), weighed_models(found)
    for name, symbol, shown in (
        ("first of its stage", "circle", [each for each in weighed if each.chance is not None]),
        ("the others", "circle-open", [each for each in weighed if each.chance is None]),
    ):
        scores = [each.expected.score for each in shown]
        figure.add_scatter(
            x=[_round(score) for score in scores],
            y=[safe(f"{each.subtask}: {each.choice}") for each in shown],
            error_x=_bars(scores, [each.expected.interval for each in shown], COLOURS[0]),
            mode="markers", marker={"color": COLOURS[0], "size": 10, "symbol": symbol}, name=name,
            hovertext=[hover(each) for each in shown], hoverinfo="text",
        )  # fmt: skip
    order = [safe(f"{each.subtask}: {each.choice}") for each in weighed]
    figure.update_yaxes(categoryorder="array", categoryarray=order, autorange="reversed")
    figure.update_xaxes(title_text="expected score of the pipeline")
    return styled(figure, height=120 + 34 * len(weighed))


def _add_progress(figure: Any, each: Progress, colour: str, dash: str, *, column: int, legend: bool) -> None:
    xs, ys = [_round(point.taken) for point in each.reached], [_round(point.score) for point in each.reached]
    bounds = [point.interval or Interval(point.score, point.score) for point in each.reached]
    _add_band(figure, xs, bounds, colour, shape="hv", row=1, col=column)
    figure.add_scatter(
        x=xs, y=ys, name=safe(f"{each.row}, {each.seeds} seed{'s' * (each.seeds > 1)}"), mode="lines",
        line={"color": colour, "dash": dash, "shape": "hv", "width": 2.5}, legendgroup=safe(each.row), showlegend=legend,
        hovertext=[hover(each.row, f"{x:,.0f}: {y:.3f} ({b.low:.3f} to {b.high:.3f})")
                   for x, y, b in zip(xs, ys, bounds, strict=True)],
        hoverinfo="text", row=1, col=column,
    )  # fmt: skip


def _add_curve(figure: Any, found: Findings, curve: Curve, *, row: int, column: int, legend: bool) -> None:
    place = {"row": row, "col": column}
    counts, scores = list(curve.counts), [_round(each.score) for each in curve.expected]
    bounds = [each.interval for each in curve.expected]
    single = len(counts) == 1
    if not single:
        _add_band(figure, counts, bounds, COLOURS[0], shape="linear", **place)
    figure.add_scatter(
        x=counts, y=scores, name="expected, others as recommended", mode="lines+markers" if single else "lines",
        line={"color": COLOURS[0], "width": 2.5}, showlegend=legend, legendgroup="expected",
        error_y=_bars([each.score for each in curve.expected], bounds, COLOURS[0]) if single else None,
        hovertext=[hover(f"{curve.model} x{count}: {each.score:.3f} ({each.interval.low:.3f} to {each.interval.high:.3f})")
                   for count, each in zip(counts, curve.expected, strict=True)],
        hoverinfo="text", **place,
    )  # fmt: skip
    fitted = [] if curve.fit is None else [_round(curve.fitted(count)) for count in counts]
    figure.add_scatter(
        x=counts[: len(fitted)] or [None], y=fitted or [None], name="fitted curve", mode="lines",
        line={"color": COLOURS[1], "dash": "dash", "width": 2}, legendgroup="fit", showlegend=legend,
        hoverinfo="skip", **place,
    )  # fmt: skip
    knee = None if curve.knee is None else _round(curve.fitted(curve.knee))
    for name, xs, ys, texts, marker in (
        ("its knee", [curve.knee], [knee], [hover(f"knee: flat from {curve.knee} samples on")], _KNEE),
        *(
            (
                name,
                [trial.allocation[curve.subtask].samples for trial in trials] or [None],
                [_round(trial.evaluation.score) for trial in trials] or [None],
                [_told(found, trial) for trial in trials],
                marker,
            )
            for name, trials, marker in (
                ("trials on the curve", curve.on_curve, {"color": COLOURS[0], "size": 8}),
                ("trials whose other stages differ", curve.elsewhere, _ELSEWHERE),
            )
        ),
    ):
        figure.add_scatter(
            x=xs, y=ys, name=name, mode="markers", marker=marker, hovertext=texts, hoverinfo="text", legendgroup=name,
            showlegend=legend, **place,
        )  # fmt: skip
    ticks = _ticks([*counts, *(t.allocation[curve.subtask].samples for t in (*curve.on_curve, *curve.elsewhere))])
    figure.update_xaxes(type="log", tickvals=ticks, ticktext=[str(n) for n in ticks], **place)


def _add_frontier(figure: Any, found: Findings) -> None:
    expected, frontier = found.expected, found.frontier
    best = [trial for trial, _ in frontier.pareto]
    for name, trials, colour, symbol in (
        ("other trials", [t for t in found.trials if t not in best], NEUTRAL, "circle-open"),
        ("Pareto-optimal trials", best, COLOURS[0], "circle"),
    ):
        scores = [expected[trial.number] for trial in trials]
        figure.add_scatter(
            x=[_round(trial.cost) for trial in trials], y=[_round(each.score) for each in scores], name=name,
            error_y=_bars([e.score for e in scores], [e.interval for e in scores], colour) if trials is best else None,
            mode="markers", marker={"color": colour, "symbol": symbol, "size": 8},
            hovertext=[_told(found, trial) for trial in trials], hoverinfo="text",
        )  # fmt: skip
    figure.add_scatter(
        x=[_round(trial.cost) for trial, _ in frontier.pareto], y=[_round(e.score) for _, e in frontier.pareto],
        name="Pareto frontier", mode="lines", line={"color": COLOURS[0], "shape": "hv", "width": 2}, hoverinfo="skip",
    )  # fmt: skip
    chosen = [point.trial for point in frontier.points]
    figure.add_scatter(
        x=[_round(trial.cost) for trial in chosen], y=[_round(expected[trial.number].score) for trial in chosen],
        name="recommended", mode="markers", hovertext=[_told(found, trial) for trial in chosen], hoverinfo="text",
        marker={"color": COLOURS[1], "symbol": "diamond-open", "size": 15, "line": {"width": 2.5}},
    )  # fmt: skip


def _add_band(figure: Any, xs: Sequence[float], bounds: Sequence[Interval], colour: str, **place: Any) -> None:
    line = {"width": 0, "shape": place.pop("shape")}
    quiet = {"mode": "lines", "line": line, "showlegend": False, "hoverinfo": "skip", **place}
    figure.add_scatter(x=list(xs), y=[_round(each.low) for each in bounds], **quiet)
    figure.add_scatter(
        x=list(xs), y=[_round(each.high) for each in bounds], fill="tonexty", fillcolor=faded(colour), **quiet
    )


def _bars(scores: Sequence[float], bounds: Sequence[Interval], colour: str) -> dict[str, Any]:
    return {
        "type": "data",
        "array": [_round(each.high - score) for score, each in zip(scores, bounds, strict=True)],
        "arrayminus": [_round(score - each.low) for score, each in zip(scores, bounds, strict=True)],
        "color": colour,
        "thickness": 1.2,
        "width": 0,
    }


def _told(found: Findings, trial: Trial) -> str:
    score, bounds = found.expected[trial.number]
    evaluation = trial.evaluation
    return hover(
        f"trial {trial.number}",
        *(f"{name}: {choice}" for name, choice in trial.allocation.items()),
        f"cost {trial.cost:.4g} {found.unit}",
        f"expected {score:.3f} ({bounds.low:.3f} to {bounds.high:.3f})",
        f"observed {evaluation.score:.3f} on {len(evaluation.results)} examples",
        f"why: {trial.rationale}",
    )


def _ticks(counts: Sequence[int]) -> list[int]:
    return [2**n for n in range(12) if min(counts) <= 2**n <= max(counts)] or [counts[0]]


def _round(value: float) -> float:
    """Five digits: more than a figure shows, and as many on every machine."""
    return float(f"{value:.5g}")
