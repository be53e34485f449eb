"""Recording for the command line: from its options to `recording.record`, with progress shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from agenttts._util.hints import program
from agenttts._util.numbers import duration
from agenttts.cli.console import open_console, print_wrapped
from agenttts.cli.live import print_heading
from agenttts.cli.options import whole_numbers
from agenttts.cli.problem import Problem
from agenttts.execution.threads import run_to_end
from agenttts.searching.recording import Recorded, record
from agenttts.study.spec import verb_for

_LINES = 10
"""Progress lines where the output is no terminal."""


def run_record(problem: Problem, levels: str, output: Path, *, store: str, max_tokens: int | None) -> None:
    """Record, and print how it goes, what was paid for, and how to search the table."""
    console, environment = open_console(), problem.environment
    allocations = problem.space.on_levels(whole_numbers(levels, "--levels"))
    what = "recording", f"{len(allocations):,} allocations on the levels {levels} to {output}"
    with _shown(console, lambda label: problem.heading(label, what)) as on_progress:
        result = run_to_end(
            record(environment, allocations, store, output, max_tokens=max_tokens, on_progress=on_progress)
        )
    rows = result.allocations * (len(environment.examples) + len(environment.held_out))
    print_wrapped(console, f"Recorded {result.allocations:,} allocations in {rows:,} rows: {output}", indent=2)
    spend = f"This run {verb_for(result.label)} {result.spend.tokens:,} tokens in {result.spend.requests:,} requests"
    reused = f"{result.spend.reused_tokens:,} further tokens came from the sample pool"
    print_wrapped(console, f"{spend}; {reused}; it took {duration(result.seconds)}", indent=2)
    console.print("Search it, for example as recorded.py:\n")
    console.print("    import agenttts as at", soft_wrap=True)
    data = "" if problem.data is None else f", data={problem.data!r}"
    console.print(f"    pipeline = at.environment({problem.env!r}{data}).pipeline", soft_wrap=True)
    console.print(f"    environment = at.RecordedEnvironment(pipeline, {str(output)!r})\n", soft_wrap=True)
    cost, budget = problem.space.cost_model.name, f"{problem.space.budget:.12g}"
    console.print(f"    {program()} search recorded.py:environment --cost {cost} --budget {budget}", soft_wrap=True)


@contextmanager
def _shown(
    console: Console, heading: Callable[[str], Iterable[tuple[str, str]]]
) -> Iterator[Callable[[Recorded], None]]:
    """A callback that shows a recording: the heading first, then a live line in a terminal, some lines elsewhere."""
    told: list[Recorded] = []

    def status() -> Text:
        return Text(_status(told[-1]) if told else "", no_wrap=True, overflow="ellipsis")

    line = Live(console=console, get_renderable=status, transient=True)

    def update(progress: Recorded) -> None:
        if not told:
            print_heading(console, heading(progress.label))
        told.append(progress)
        if console.is_terminal:
            line.start()
        elif progress.allocations * _LINES // progress.of > (progress.allocations - 1) * _LINES // progress.of:
            console.print(_status(progress))

    try:
        yield update
    finally:
        line.stop()


def _status(progress: Recorded) -> str:
    done = f"{progress.allocations:,}/{progress.of:,} allocations"
    spent, verb = progress.spend, verb_for(progress.label)
    tokens = f"{spent.tokens:,} tokens {verb}, {spent.reused_tokens:,} reused"
    return f"{done} | {tokens} | {duration(progress.seconds_left)} left"
