"""Showing a search while it runs: a live line in a terminal, plain lines elsewhere.

Nothing is shown until the study has started: before that only errors can happen, and an error stands alone.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from agenttts._util.numbers import compact, duration, interval
from agenttts.cli.console import print_wrapped
from agenttts.report import study_scale
from agenttts.searching.progress import Progress
from agenttts.study.spec import spent_on_models, verb_for
from agenttts.study.trial import BASELINE, Trial

_LABEL_WIDTH = 13
_TRIAL_INDENT = 11
_MOST_COLUMNS = 100
"""Of a trial's lines, also where the console is wider, or a pipe."""


@contextmanager
def show_progress(
    console: Console, heading: Callable[[str], Iterable[tuple[str, str]]]
) -> Iterator[Callable[[Progress], None]]:
    """A callback that shows a search on the console: the heading, each trial, and in a terminal a live line below.

    Args:
        console: Where.
        heading: What the samples are where no model gives them -> the heading's lines, each a label and a text.
    """
    shown: list[Progress] = []

    def status() -> Text:
        line = (shown[-1].waiting or status_line(shown[-1], console.width)) if shown else ""
        return Text(line, no_wrap=True, overflow="ellipsis")

    live = Live(console=console, get_renderable=status, transient=True)

    def update(progress: Progress) -> None:
        before = len(shown[-1].archive.trials) if shown else progress.trials_before
        best = shown[-1].archive.best if shown else None
        if not shown:
            print_heading(console, heading(progress.study.details.get("recorded", "")))
            if before:
                console.print(f"resumed with {before} trials")
        shown[:] = [progress]
        for trial in progress.archive.trials[before:]:
            _print_trial(console, trial, progress)
        if len(progress.archive.trials) == before:  # what has changed are earlier trials
            _print_new_best(console, best, progress)
        if console.is_terminal:
            live.start()

    try:
        yield update
    finally:
        live.stop()


def print_heading(console: Console, heading: Iterable[tuple[str, str]]) -> None:
    """Lines of (label, text)."""
    for label, text in heading:
        print_wrapped(console, f"{label:<{_LABEL_WIDTH}}{text}", indent=_LABEL_WIDTH)


def _print_trial(console: Console, trial: Trial, progress: Progress) -> None:
    evaluation = trial.evaluation
    failed = f", {evaluation.failures} failed" if evaluation.failures else ""
    failed += f", {len(evaluation.missing)} missing" if evaluation.missing else ""
    score = f"{evaluation.score:.3f} ({interval(evaluation.interval)}) on {len(evaluation.results):>3}{failed}"
    line = f"trial {trial.number:>3}  {score}  {study_scale(progress.study).show(trial.cost):>11}"
    parts = [f"{name}: {choice}" for name, choice in trial.allocation.items()]
    _print_within(console, line, "  ", ("baseline, " if trial.searcher == BASELINE else "") + ", ".join(parts))
    if not console.is_terminal:
        console.print(" " * _TRIAL_INDENT + status_line(progress, _MOST_COLUMNS - _TRIAL_INDENT), soft_wrap=True)


def _print_within(console: Console, first: str, gap: str, second: str) -> None:
    """Print two texts on one line where it fits, else the second below, wrapped at words."""
    width = min(console.width, _MOST_COLUMNS)
    if len(first) + len(gap) + len(second) <= width:
        console.print(first + gap + second, soft_wrap=True)
        return
    indent = " " * _TRIAL_INDENT
    below = textwrap.fill(second, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False,
                          break_on_hyphens=False)  # fmt: skip
    console.print(f"{first}\n{below}", soft_wrap=True)


def _print_new_best(console: Console, before: Trial | None, progress: Progress) -> None:
    """Say so where a further look at an earlier trial has changed which one is best."""
    best = progress.archive.best
    if before is None or best is None or best.number == before.number:
        return
    seen = f"{best.evaluation.score:.3f} ({interval(best.evaluation.interval)}) on {len(best.evaluation.results)}"
    _print_within(
        console,
        f"best so far{_within(progress)} is trial {best.number}, {seen}, as more examples were seen;",
        " ",
        f"it was trial {before.number}",
    )


def status_line(progress: Progress, width: int | None = None) -> str:
    """How far a search is, in as much detail as the width allows; in full when None."""
    label, own, left = progress.study.details.get("recorded", ""), progress.own, progress.seconds_left
    spent = spent_on_models(progress.spent, own, label)
    trials = f"{len(progress.archive.trials)}/{progress.limits.trials}"
    time = "" if left is None else f" | {duration(left)} left"
    verb = verb_for(label)
    planner = f", {own.tokens:,} by the planner" if own.tokens else ""
    counts = f"{spent.tokens:,} tokens {verb}, {spent.reused_tokens:,} reused{planner}"
    full = f"{_best(progress, 3)} | {trials} trials | {counts}{time}"
    if width is None:
        return full
    where = "held-out" if progress.phase == "validating" else trials
    short = f"{compact(spent.tokens)} {verb}, {compact(spent.reused_tokens)} reused"
    forms = [
        f"{progress.phase} | {full}",
        f"{where} | {_best(progress, 2)} | tokens {short}{time}",
        f"{where} | {_best(progress, 2)} | {short}{time}",
    ]
    return next((form for form in forms if len(form) <= width), f"{where} | {_best(progress, 2)}{time}")


def _best(progress: Progress, digits: int) -> str:
    best = progress.archive.best
    if best is None:
        return "best none yet"
    low, high = best.evaluation.interval
    return f"best{_within(progress)} {best.evaluation.score:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _within(progress: Progress) -> str:
    """Of a search with several budgets, the one that a best trial is within: the largest."""
    spec = progress.study.spec
    return f" within {study_scale(progress.study).show(spec.budget)}" if spec.budgets else ""
