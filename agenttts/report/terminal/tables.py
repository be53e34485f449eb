"""Tables for a terminal. Everything that came from a model is plain text here, never markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from agenttts._util.numbers import Scale, compact, interval
from agenttts.report.findings.comparison import Comparison, Mean
from agenttts.report.terminal.layout import Column, Listing
from agenttts.space.allocation import Allocation
from agenttts.space.cost import cost_model
from agenttts.study.spec import verb_for
from agenttts.study.trial import BASELINE, Trial

_COMPARISON_RANKS = {"seeds": 3, "gain over the baseline": 1, "trial of the winner": 2, "tokens from scratch": 4}
"""Which column of a comparison is left out first where the terminal is narrow: see `layout.Column`."""


def studies_table(rows: Sequence[Mapping[str, Any]]) -> Listing:
    """One line per study (`rows.study_row`).

    Examples:
        >>> import rich
        >>> from agenttts import report
        >>> rich.print(report.studies_table([report.study_row(store, study)]))
        study  environment  method     budget  seed  trials  best seen        tokens
        first  toy          agent   320 MFLOP     0       8      1.000  215 paid for
    """

    def column(heading: str, cell: str, *, number: bool = False, rank: int = 0) -> Column:
        return Column(heading=heading, cells=[cell.format(**row) for row in rows], number=number, rank=rank)

    budgets = [cost_model(row["cost_model"]).scale(row["budget"]).show(row["budget"]) for row in rows]
    best = ["" if row["best_observed"] is None else f"{row['best_observed']:.3f}" for row in rows]
    taken = [row["tokens_bought"] - (row["tokens_of_method"] if row["recorded"] else 0) for row in rows]
    tokens = [f"{count:,} {verb_for(row['recorded'])}" for count, row in zip(taken, rows, strict=True)]
    return Listing(
        [
            column("study", "{name}"),
            column("environment", "{environment}", rank=3),
            column("method", "{method}", rank=4),
            Column(heading="budget", cells=budgets, number=True, rank=2),
            column("seed", "{seed}", number=True, rank=5),
            column("trials", "{trials}", number=True),
            Column(heading="best seen", cells=best, number=True),
            Column(heading="tokens", cells=tokens, number=True, rank=1),
        ]
    )


def trials_table(trials: Sequence[Trial], scale: Scale, *, label: str = "", whole: str = "--json") -> Listing:
    """One line per trial, in the order given; a line per stage where the terminal is too narrow for that.

    Examples:
        >>> import rich
        >>> from agenttts import report
        >>> rich.print(report.trials_table(found.trials[:2], found.scale))
        trial  find      answer    cost (MFLOP)  score   95 % interval  examples  failed
            1  large x1  small x5           304  1.000  0.722 to 1.000        10       0
            2  small x4  large x1           316  1.000  0.722 to 1.000        10       0
        ...

    Args:
        trials: Of one study.
        scale: Of their costs (`Findings.scale`).
        label: What their samples are, where no model gives them (`study.recorded`).
        whole: What has every column.
    """
    names = list(trials[0].allocation) if trials else []
    stages = [Column(heading=name, cells=[str(trial.allocation[name]) for trial in trials]) for name in names]
    stacked = ["\n".join(f"{name}: {choice}" for name, choice in trial.allocation.items()) for trial in trials]
    number = Column(heading="trial", cells=[numbered(trial) for trial in trials], number=True)
    figures = _figures(trials, scale, verb_for(label))
    allocations = Column(heading="allocation", cells=stacked)
    return Listing([number, *stages, *figures], [number, allocations, *figures], whole=whole)


def numbered(trial: Trial) -> str:
    """A trial's number, and whether it is the baseline."""
    return f"baseline {trial.number}" if trial.searcher == BASELINE else str(trial.number)


def _figures(trials: Sequence[Trial], scale: Scale, verb: str) -> list[Column]:
    evaluations = [trial.evaluation for trial in trials]
    failures = [evaluation.failures for evaluation in evaluations]

    def column(heading: str, cells: Sequence[object], rank: int = 0) -> Column:
        return Column(heading=heading, cells=[str(cell) for cell in cells], number=True, rank=rank)

    return [
        column(f"cost ({scale.unit})", [scale.number(trial.cost) for trial in trials]),
        column("score", [f"{evaluation.score:.3f}" for evaluation in evaluations]),
        column("95 % interval", [interval(evaluation.interval) for evaluation in evaluations]),
        column("examples", [len(evaluation.results) for evaluation in evaluations], rank=2),
        column("failed", failures, rank=0 if any(failures) else 1),
        column(f"tokens {verb}", [f"{evaluation.spend.tokens:,}" for evaluation in evaluations], rank=3),
        column("reused", [f"{evaluation.spend.reused_tokens:,}" for evaluation in evaluations], rank=4),
    ]


def comparison_table(comparisons: Sequence[Comparison], notes: Sequence[str] = ()) -> Listing:
    """One line per method, best first, what its intervals are, and further notes.

    Examples:
        >>> import rich
        >>> from agenttts import report
        >>> rich.print(report.comparison_table([report.compare_runs("agent", [result])]))
                       score on   trial   tokens
                       held-out  of the     from
        method  seeds  examples  winner  scratch
        agent       1     1.000     7.0    1.03k
    """
    headings, rows, own_notes = comparison_cells(comparisons)
    columns = [
        Column(heading=heading, cells=cells, number=heading != "method", rank=_COMPARISON_RANKS.get(heading, 0))
        for heading, cells in zip(headings, zip(*rows, strict=True), strict=True)
    ]
    return Listing(columns, notes=[*own_notes, *notes])


class ComparisonCells(NamedTuple):
    """A comparison as text."""

    headings: list[str]
    rows: list[list[str]]
    notes: list[str]


def comparison_cells(comparisons: Sequence[Comparison]) -> ComparisonCells:
    """One row per method, best first, then the baseline, and what the intervals are."""
    ranked = sorted(comparisons, key=lambda comparison: -comparison.score.value)
    held_out = any(result.validation for each in ranked for result in each.results)
    score = "score on held-out examples" if held_out else "score on the examples searched"
    gain = ["gain over the baseline"] if any(each.baselines for each in ranked) else []
    rows = [
        [
            each.method,
            str(each.seeds),
            _mean(each.score, ".3f", each.agreement),
            *([_gained(each)] if gain else []),
            _mean(each.trials_to_best, ".1f"),
            _mean(each.tokens, ""),
        ]
        for each in ranked
    ]
    rows += [["baseline", "", f"{scored.value:.3f}", "", "", ""] for scored in _baselines(ranked).values()]
    headings = ["method", "seeds", score, *gain, "trial of the winner", "tokens from scratch"]
    return ComparisonCells(headings, rows, _notes(ranked))


def _gained(comparison: Comparison) -> str:
    gain = comparison.gain
    if gain is None:
        same = all(result.best.allocation in comparison.baselines for result in comparison.results)
        return "none: it is recommended" if same else ""
    return f"{gain.value:+.3f} ({gain.interval.low:+.3f} to {gain.interval.high:+.3f})"


def _baselines(comparisons: Sequence[Comparison]) -> dict[Allocation, Mean]:
    """What the methods are compared with; usually one allocation, as all are given the same."""
    return {allocation: mean for each in comparisons for allocation, mean in each.baselines.items()}


def _notes(comparisons: Sequence[Comparison]) -> list[str]:
    notes = []
    if any(each.score.interval for each in comparisons):
        notes.append(
            "In parentheses: 95 % interval of the mean over the seeds (Student's t, within what is possible). It tells "
            "how much a method depends on its random choices, not how much the scores depend on these examples."
        )
    unchecked = [name for each in comparisons for name in each.unchecked]
    if unchecked and len(unchecked) < sum(each.seeds for each in comparisons):
        notes.append(
            "Not checked on held-out examples, so scored on those searched, which flatters: "
            f"{', '.join(unchecked)}. Run again to check what they recommend."
        )
    notes += [f"Baseline: {allocation}, a trial of every search." for allocation in _baselines(comparisons)]
    if any(each.gain for each in comparisons):
        notes.append(
            "Gain: mean difference to the baseline on the same examples, over all seeds, with the 95 % interval over "
            "these examples."
        )
    if any(each.agreement for each in comparisons):
        notes.append("Runs that agree are as good as one: that they agree says nothing of how sure their score is.")
    counts = {each.method: [len(result.archive.trials) for result in each.results] for each in comparisons}
    if len({count for each in counts.values() for count in each}) > 1:
        told = ", ".join(f"{method} {_from_to(each)}" for method, each in counts.items())
        notes.append(f"Not equally many trials: {told}. A study that has more than were asked for is taken whole.")
    return notes


def _from_to(counts: Sequence[int]) -> str:
    return " to ".join(map(str, sorted({min(counts), max(counts)})))


def _mean(mean: Mean, form: str, agreement: str = "") -> str:
    value, *bounds = (f"{x:{form}}" if form else compact(x) for x in (mean.value, *(mean.interval or ())))
    note = " to ".join(bounds) or agreement
    return f"{value} ({note})" if note else value
