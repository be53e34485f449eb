"""Showing a search while it runs: a live line in a terminal, plain lines elsewhere.

Nothing is shown until the study has started: before that only errors can happen, and an error stands alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from agenttts._util.numbers import compact, duration, interval
from agenttts.cli.console import print_pair, print_wrapped
from agenttts.searching.progress import Progress
from agenttts.study.spec import verb_for
from agenttts.study.trial import Trial

_LABEL_WIDTH = 13
_TRIAL_INDENT = 11


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
        if not shown:
            print_heading(console, heading(progress.study.details.get("recorded", "")))
            if before:
                console.print(f"resumed with {before} trials")
        shown[:] = [progress]
        for trial in progress.archive.trials[before:]:
            _print_trial(console, trial, progress)
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
    line = f"trial {trial.number:>3}  {score}  cost {trial.cost:>8.4g}"
    status = "" if console.is_terminal else f"  | {status_line(progress)}"
    print_pair(console, line, f"{trial.allocation}{status}", gap=2, indent=_TRIAL_INDENT)


def status_line(progress: Progress, width: int | None = None) -> str:
    """How far a search is, in as much detail as the width allows; in full when None."""
    spent, left = progress.spent, progress.seconds_left
    trials = f"{len(progress.archive.trials)}/{progress.limits.trials}"
    time = "" if left is None else f" | {duration(left)} left"
    verb = verb_for(progress.study.details.get("recorded", ""))
    counts = f"{spent.tokens:,} tokens {verb}, {spent.reused_tokens:,} reused"
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
    return f"best {best.evaluation.score:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
