"""Tables and lines for a terminal. Everything that came from a model is plain text here, never markup."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.table import Table
from rich.text import Text

from agenttts.cost import cost_model
from agenttts.db import Store, Study
from agenttts.loop import SearchResult
from agenttts.report.comparison import Comparison, Mean
from agenttts.trial import RULES, AgentStep, Evaluation, Spend, Trial


def studies_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """One line per study (`rows.study_row`)."""
    table = _table("study", "environment", "method", ">budget", ">seed", ">trials", ">best seen", ">tokens bought")
    for row in rows:
        best = "" if row["best_observed"] is None else f"{row['best_observed']:.3f}"
        budget = f"{row['budget']:g} {cost_model(row['cost_model']).unit}"
        cells = [row["name"], row["environment"], row["method"], budget, row["seed"], row["trials"], best]
        _add(table, *cells, f"{row['tokens_bought']:,}")
    return table


def trials_table(trials: Sequence[Trial], unit: str) -> Table:
    """One line per trial, in the order given."""
    names = list(trials[0].allocation) if trials else []
    scores = (">score", "95 % interval", ">examples", ">failed", ">tokens bought", ">reused")
    table = _table(">trial", *names, f">cost ({unit})", *scores)
    for trial in trials:
        evaluation = trial.evaluation
        choices = [str(trial.allocation[name]) for name in names]
        bought, reused = evaluation.spend.tokens, evaluation.spend.reused_tokens
        cells = [trial.number, *choices, f"{trial.cost:.4g}", f"{evaluation.score:.3f}", interval(evaluation)]
        _add(table, *cells, len(evaluation.results), evaluation.failures, f"{bought:,}", f"{reused:,}")
    return table


def comparison_table(comparisons: Sequence[Comparison]) -> Table:
    """One line per method, best first."""
    held_out = any(result.validation for each in comparisons for result in each.results)
    score = "score on held-out examples" if held_out else "score on the examples searched"
    table = _table("method", ">seeds", f">{score}", ">trial of the winner", ">tokens from scratch")
    for each in sorted(comparisons, key=lambda comparison: -comparison.score.value):
        cells = [each.method, each.seeds, _mean(each.score, ".3f"), _mean(each.trials_to_best, ".1f")]
        _add(table, *cells, _mean(each.tokens, ",.0f"))
    return table


def summary_lines(result: SearchResult, unit: str, budget: float) -> list[str]:
    """The end of a search, the answer first."""
    best, spend = result.best, result.spend
    lines = ["Best allocation (by posterior mean over all trials):"]
    lines += [f"  {name}: {choice}" for name, choice in best.allocation.items()]
    if result.validation is not None:
        lines.append(f"Score on {len(result.validation.results)} held-out examples: {scored(result.validation)}")
    lines.append(f"Score on the {len(best.evaluation.results)} examples searched: {scored(best.evaluation)}")
    lines.append(f"Cost per query: {best.cost:.4g} {unit} of {budget:g} {unit}")
    lines.append(f"The search spent: {spent(spend)}")
    lines += _filled(result.archive.trials)
    lines.append(f"Stopped: {result.stopped}")
    return lines


def _filled(trials: Sequence[Trial]) -> list[str]:
    count = sum(trial.searcher == RULES for trial in trials)
    why = "the planner's own proposals were refused or unreadable"
    return [f"{count} of {len(trials)} trials were filled in by rule: {why}"] if count else []


def scored(evaluation: Evaluation) -> str:
    """Score, interval and failures in words."""
    failed = f", {evaluation.failures} failed, the first with: {evaluation.first_error}" if evaluation.failures else ""
    return f"{evaluation.score:.3f} (95 % interval {interval(evaluation)}{failed})"


def interval(evaluation: Evaluation) -> str:
    """The 95 % interval of an evaluation."""
    return f"{evaluation.interval.low:.3f} to {evaluation.interval.high:.3f}"


def spent(spend: Spend) -> str:
    """What was bought and reused, in words."""
    usd = f", {spend.usd:.4f} USD" if spend.usd else ""
    return (
        f"{spend.tokens:,} tokens in {spend.requests:,} requests{usd}, {spend.seconds:.0f} s; "
        f"{spend.reused_tokens:,} further tokens came from the sample pool"
    )


def trace_lines(
    store: Store, study: Study, trial_number: int | None = None, *, prompts: bool = False
) -> list[tuple[str, str]]:
    """(heading, body) pairs: the agent's steps round by round, each with the trials that came of it.

    Args:
        store: Holds the study.
        study: Which study.
        trial_number: Only the round that led to this trial.
        prompts: Whether to include the planner's prompts and replies.
    """
    trials = store.archive(study).trials
    rounds = {trial.round for trial in trials if trial_number in (None, trial.number)}
    lines: list[tuple[str, str]] = []
    steps = {number: list(group) for number, group in groupby(store.steps(study), key=lambda step: step.round)}
    for number in sorted(rounds | (set(steps) if trial_number is None else set())):
        lines.append((f"after {number} trials", ""))
        for step in steps.get(number, []):
            lines += _step_lines(step, prompts=prompts)
        for trial in (t for t in trials if t.round == number and trial_number in (None, t.number)):
            body = f"{trial.allocation}\n{scored(trial.evaluation)}, cost {trial.cost:.4g}\nwhy: {trial.rationale}"
            lines.append((f"trial {trial.number}", body))
    return [(plain(heading), plain(body)) for heading, body in lines]


def _step_lines(step: AgentStep, *, prompts: bool) -> list[tuple[str, str]]:
    spend = f", {step.spend.tokens:,} tokens, {step.spend.seconds:.1f} s" if step.spend.tokens else ""
    lines = [(f"{step.node} ({step.planner}{spend})", step.text)]
    if prompts and step.prompt:
        lines += [(f"{step.node}: prompt", step.prompt), (f"{step.node}: reply", step.reply)]
    return lines


def plain(text: str) -> str:
    """The text without control characters: what a model wrote must not steer a terminal."""
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) != "Cc")


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading.removeprefix(">"), justify="right" if heading.startswith(">") else "left")
    return table


def _add(table: Table, *cells: object) -> None:
    table.add_row(*(Text(plain(str(cell))) for cell in cells))


def _mean(mean: Mean, form: str) -> str:
    value = f"{mean.value:{form}}"
    return value if mean.half_width is None else f"{value} ± {mean.half_width:{form}}"
