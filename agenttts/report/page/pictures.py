"""The figures of the page with their words: a caption, the finding in a sentence, and the same numbers as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from agenttts._util.numbers import Scale, chance, counted, percent
from agenttts._util.stats import Interval
from agenttts.posterior.curves import FittedCurve
from agenttts.report.figures import figures
from agenttts.report.findings.best_so_far import axes, best_so_far, moments, taken
from agenttts.report.findings.comparison import Comparison
from agenttts.report.findings.cost_shares import CostShare, cost_shares
from agenttts.report.findings.evidence import WeighedModel, weighed_models
from agenttts.report.findings.findings import Findings
from agenttts.report.findings.scaling import Curve, scaling_curves

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


_PROGRESS = (
    "After every look at examples, what the search would have recommended: its expected score, and in the band its "
    "95 % interval, by the posterior over what had been seen by then. It falls where more examples show that a score "
    "was luck."
)
_HINDSIGHT = (
    "When each trial saw its examples was not kept: the order is unknown, and every trial is drawn as if it had seen "
    "at once all that it saw in the end; the line is the best one by what is known at the end."
)
_SCRATCH = " Tokens from scratch are those that the trials would take without the sample pool."
_CURVES = (
    "More samples at one stage, as many as fit the budget while the other stages stay as recommended. Line and "
    "band: expected score with its 95 % interval. Dashed: the mean of curves fitted to its draws. Triangle: its "
    "knee, from which doubling the samples gains less than 0.01; none where the curve cannot be told from a flat one. "
    "Filled dots: observed scores of trials on this curve, the recommended one in a diamond; hollow ones: trials of "
    "this model whose other stages differ, which need not lie on it."
)
_FRONTIER = (
    "Every trial at its expected score (posterior mean over all trials), with its 95 % interval (drawn for the "
    "Pareto-optimal ones, of which every cheaper trial is expected to score lower). A trial that saw few examples "
    "borrows from its neighbours, so its expected score is not its observed one."
)
_PREFERENCE = (
    "Each model at its best number of samples within what the budget leaves its stage, the other stages as in the "
    "best allocation so far; bars are 95 % intervals."
)
_RACE = "What each method would have recommended after every look at examples, by what it had seen by then."
_RACED = (
    " Its score is what one posterior, over the trials of all studies on this page, expects at the end, so that "
    "no method is judged by its own luck. The line is the mean over the seeds of a method, the band its 95 % interval "
    "(Student's t), absent where all seeds agree. Tokens from scratch are what the trials would take without the "
    "sample pool, so that no method profits from what another has paid for."
)


@dataclass(frozen=True, kw_only=True)
class PageTable:
    """A table of the page. Cells are text, escaped when the page is made."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1
    """How many of the first columns hold words; the others are numbers, set flush right."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure that can be read without seeing it."""

    name: str
    """Unique on the page."""
    figure: Figure
    caption: str
    """How to read it."""
    finding: str
    """What it shows, in a sentence: also what a screen reader says in its place."""
    table: PageTable

    @property
    def least_px(self) -> int:
        """Width from which on it can be read; 0 where any will do."""
        columns = {tuple(axis.domain or ()) for axis in self.figure.select_xaxes()}
        return 60 + 180 * len(columns) if len(columns) > 1 else 0


def progress_picture(found: Findings) -> Picture:
    """Best so far, of one study."""
    shown = axes([found])
    run, (line,) = moments(found), best_so_far([found], "trials")
    changes = [run[0], *(now for before, now in pairwise(run) if now.best.number != before.best.number)]
    rows = [
        [f"trial {now.best.number}: {now.best.allocation}", *(f"{taken(now, axis):,.0f}" for axis in shown),
         scored(*now.expected)]
        for now in changes
    ]  # fmt: skip
    return Picture(
        name="progress",
        figure=figures.progress_figure(found),
        caption=(_HINDSIGHT if line.hindsight else _PROGRESS) + _SCRATCH * ("tokens from scratch" in shown),
        finding=f"Of {counted(len(found.trials), 'trial')} the recommended one is number {found.best.number}, as it "
        f"has been since there were {changes[-1].trials}.",
        table=PageTable(headings=["the best from then on", *shown, "expected score (95 % interval)"], rows=rows),
    )


def budget_picture(found: Findings) -> Picture:
    """Where the budget goes."""
    best, baseline, scale, shares = found.best, found.archive.baseline, found.scale, cost_shares(found)
    own = ", ".join(f"{each.stage} takes {_share(each, scale)}" for each in shares if each.trial.number == best.number)
    left = f"{scale.number(found.study.spec.budget - best.cost)} of {scale.show(found.study.spec.budget)} are left"
    beside = "" if baseline is None else f"; the baseline costs {scale.show(baseline.cost)}"
    rows = [[each.label, *map(scale.number, (*each.parts, sum(each.parts))), _share(each, scale)] for each in shares]
    unit = scale.unit
    return Picture(
        name="budget",
        figure=figures.budget_figure(found),
        caption=f"Cost of one query of the recommended allocation and of the baseline, in {unit}: reading the prompt "
        "once per request, generating the samples, and what the aggregator itself asks a model (nothing where it only "
        "votes).",
        finding=f"Of a query's cost, {own}; {left}{beside}.",
        table=PageTable(
            headings=["stage", f"prompt ({unit})", f"generation ({unit})", f"aggregation ({unit})",
                      f"together ({unit})", "share"],
            rows=rows,
        ),
    )  # fmt: skip


def _share(each: CostShare, scale: Scale) -> str:
    """What a stage takes of its allocation's cost."""
    total = sum(each.parts)
    return percent(total / each.trial.cost) if each.trial.cost > 0 else scale.number(total)


def scaling_pictures(found: Findings) -> list[Picture]:
    """One for each stage of which something fits."""
    curves = {stage: scaling_curves(found, stage) for stage in found.best.allocation}
    shown = {stage: each for stage, each in curves.items() if each}
    return [
        _scaling_picture(found, stage, each, _CURVES if place == 0 else "To be read as the picture above.")
        for place, (stage, each) in enumerate(shown.items())
    ]


def _scaling_picture(found: Findings, stage: str, curves: Sequence[Curve], caption: str) -> Picture:
    return Picture(
        name=f"scaling-{stage}",
        figure=figures.scaling_figure(found, stage),
        caption=caption,
        finding=f"{stage}: " + "; ".join(_saturation(curve) for curve in curves) + ".",
        table=PageTable(
            headings=["model", "samples that fit", "expected at the fewest", "expected at the most", "form of the fit",
                      "knee at (80 % interval)", "trials on the curve", "trials elsewhere"],
            rows=[_curve_row(curve) for curve in curves],
        ),
    )  # fmt: skip


def _saturation(curve: Curve) -> str:
    if curve.fit is None:
        return f"{curve.model} can have at most {counted(curve.counts[-1], 'sample')}, too few for a curve"
    if not curve.fit.told:
        return f"{curve.model} has a curve that the trials cannot tell from a flat one"
    if curve.knee is None:
        return f"{curve.model} is still expected to gain at the {counted(curve.counts[-1], 'sample')} that fit"
    return f"{curve.model} should need no more than {counted(curve.knee, 'sample')}"


def _curve_row(curve: Curve) -> list[str]:
    fit = curve.fit
    form = "" if fit is None else f"{fit.form}, {fit.share:.0%} of the draws"
    counts = f"{curve.counts[0]} to {curve.counts[-1]}" if len(curve.counts) > 1 else str(curve.counts[0])
    knee = "" if fit is None else _knee(curve, fit)
    ends = [scored(*curve.expected[0]), scored(*curve.expected[-1])]
    return [curve.model, counts, *ends, form, knee, str(len(curve.on_curve)), str(len(curve.elsewhere))]


def _knee(curve: Curve, fit: FittedCurve) -> str:
    if not fit.told:
        return "not told from flat"
    if curve.knee is None:
        return f"none within {curve.counts[-1]}"
    return f"{fit.knee} ({fit.knee_low} to {fit.knee_high})"


def frontier_picture(found: Findings) -> Picture:
    """Score against cost."""
    frontier, scale = found.frontier, found.scale
    cheapest, dearest = frontier.pareto[0], frontier.pareto[-1]
    rows = [
        [f"trial {trial.number}: {trial.allocation}", scale.number(trial.cost), scored(*expected),
         scored(trial.evaluation.score, trial.evaluation.interval), str(len(trial.evaluation.results))]
        for trial, expected in frontier.pareto
    ]  # fmt: skip
    return Picture(
        name="frontier",
        figure=figures.frontier_figure(found),
        caption=_FRONTIER,
        finding=f"{len(frontier.pareto)} of {counted(len(found.trials), 'trial')} are Pareto-optimal, from "
        f"{scale.show(cheapest.trial.cost)} (expected {cheapest.expected.score:.3f}) to "
        f"{scale.show(dearest.trial.cost)} (expected {dearest.expected.score:.3f}).",
        table=PageTable(
            headings=["Pareto-optimal trial", f"cost ({scale.unit})", "expected (95 % interval)",
                      "observed (95 % interval)", "examples"],
            rows=rows,
        ),
    )  # fmt: skip


def preference_picture(found: Findings) -> Picture | None:
    """Insight 1; None where no guideline states it."""
    weighed = weighed_models(found)
    if not weighed:
        return None
    firsts = [each for each in weighed if each.chance is not None]
    rows = [
        [each.subtask, each.choice, scored(*each.expected), "" if each.chance is None else chance(each.chance),
         str(each.trials), f"{each.examples:,}"]
        for each in weighed
    ]  # fmt: skip
    return Picture(
        name="preference",
        figure=figures.preference_figure(found),
        caption=_PREFERENCE,
        finding="; ".join(
            f"{each.subtask} does best with {each.choice}"
            + (f" ({chance(each.chance or 0)} sure)" if _rivals(weighed, each.subtask) else " (nothing else fits)")
            for each in firsts
        )
        + ".",
        table=PageTable(
            headings=["stage", "model and samples", "expected (95 % interval)", "chance to beat the next",
                      "trials behind it", "their example evaluations"],
            rows=rows,
            words=2,
        ),
    )  # fmt: skip


def comparison_pictures(findings: Sequence[Findings], comparisons: Sequence[Comparison]) -> list[Picture]:
    """Several studies: how fast each method gets where, and what each recommends at what cost."""
    ranked = sorted(comparisons, key=lambda each: -each.score.value)
    lines = best_so_far(findings, "trials")
    ends = {each.row: each.reached[-1] for each in lines}
    fast = Picture(
        name="progress",
        figure=figures.progress_figure(*findings),
        caption=(_HINDSIGHT if lines[0].hindsight else _RACE) + _RACED,
        finding="At the end: "
        + "; ".join(f"{row} {scored(end.score, end.interval)}" for row, end in ends.items())
        + ".",
        table=PageTable(
            headings=["method", "trials", "expected score of the best at the end (95 % interval over seeds)"],
            rows=[[row, f"{end.taken:.0f}", scored(end.score, end.interval)] for row, end in ends.items()],
        ),
    )
    of_seeds = ", in the mean over seeds" if any(each.seeds > 1 for each in comparisons) else ""
    checked = [found.validation is not None for found in findings]
    held_out = "held-out examples" if any(checked) else "the examples seen"
    held_out += " (those seen, where it was not checked)" if any(checked) and not all(checked) else ""
    found = Picture(
        name="recommended",
        figure=figures.recommended_figure(*findings),
        caption=f"Score of what each study recommends, on {held_out}, with its 95 % interval over examples. Studies "
        "that recommend the same allocation have the same score.",
        finding=f"{ranked[0].method} recommends the highest score{of_seeds}: {scored(*ranked[0].score)}.",
        table=PageTable(headings=["study", "recommends", f"cost ({findings[0].scale.unit})", "score (95 % interval)"],
                        rows=[_recommended_row(each) for each in findings], words=2),
    )  # fmt: skip
    return [fast, found]


def _recommended_row(found: Findings) -> list[str]:
    evaluation = found.validation or found.best.evaluation
    score = scored(evaluation.score, evaluation.interval)
    return [found.name, str(found.best.allocation), found.scale.number(found.best.cost), score]


def scored(score: float, interval: Interval | None) -> str:
    """A score with its interval."""
    return f"{score:.3f}" if interval is None else f"{score:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def _rivals(weighed: Sequence[WeighedModel], subtask: str) -> bool:
    return sum(each.subtask == subtask for each in weighed) > 1
