"""Showing a search while it runs: a live line in a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from agenttts.loop import Limits, Progress
from agenttts.report.tables import interval


@contextmanager
def show_progress(console: Console | None, limits: Limits) -> Iterator[Callable[[Progress], None] | None]:
    """A callback that shows progress on the console; None shows nothing."""
    if console is None:
        yield None
        return
    printed: set[int] = set()
    if not console.is_terminal:
        yield lambda progress: _print_new_trials(console, progress, printed)
        return
    latest: list[Progress] = []
    with Live(console=console, get_renderable=lambda: Text(_status(latest[-1]) if latest else "")) as live:

        def update(progress: Progress) -> None:
            _print_new_trials(live.console, progress, printed)
            latest[:] = [progress]

        yield update


def _print_new_trials(console: Console, progress: Progress, printed: set[int]) -> None:
    if not printed and progress.trials_before:
        printed.update(range(progress.trials_before + 1))
        console.print(f"resumed with {progress.trials_before} trials", markup=False)
    for trial in progress.archive.trials:
        if trial.number not in printed:
            printed.add(trial.number)
            score = f"{trial.evaluation.score:.3f} ({interval(trial.evaluation)}) on {len(trial.evaluation.results):>3}"
            line = f"trial {trial.number:>3}  {score}  cost {trial.cost:>8.4g}  {trial.allocation}"
            shown = line if console.is_terminal else f"{line}  | {_best(progress)} | {_counts(progress)}"
            console.print(shown, markup=False, soft_wrap=True)


def _status(progress: Progress) -> str:
    return f"{progress.phase} | {_best(progress)} | {_counts(progress)}"


def _best(progress: Progress) -> str:
    best = progress.archive.best
    return "best none yet" if best is None else f"best {best.evaluation.score:.3f} ({interval(best.evaluation)})"


def _counts(progress: Progress) -> str:
    left = "" if progress.seconds_left is None else f" | {progress.seconds_left:.0f} s left"
    spent = progress.spent
    return (
        f"{len(progress.archive.trials)}/{progress.limits.trials} trials | "
        f"{spent.tokens:,} tokens bought, {spent.reused_tokens:,} reused{left}"
    )
