"""Runs in turns, what their medians may be, and the command: how the benchmarks here repeat what they measure."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from math import comb
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple


class Interval(NamedTuple):
    """A median, and the two runs between which it lies with 95 %; with fewer than six runs the extremes (5: 94 %)."""

    low: float
    median: float
    high: float


def interval(values: Sequence[float]) -> Interval:
    """The median of runs with its interval, which follows from their order alone."""
    ordered, n = sorted(values), len(values)
    outside, cut = 0.0, 0
    while outside + 2 * comb(n, cut) / 2**n <= 0.05:
        outside += 2 * comb(n, cut) / 2**n
        cut += 1
    cut = max(cut - 1, 0)
    return Interval(ordered[cut], median(ordered), ordered[n - 1 - cut])


def shown(found: Interval, form: str) -> str:
    """As a table has it."""
    return f"{found.median:{form}} ({found.low:{form}} to {found.high:{form}})"


def command() -> str:
    """The command that is running, as it is kept with its figures: of this machine's own paths the last part."""
    shown = (Path(part).name if Path(part).is_absolute() else part for part in sys.argv[1:])
    return shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *shown])


def made() -> str:
    """The command, and what it runs on."""
    versions = f"Python {platform.python_version()}, agenttts {version('agenttts')}"
    return f"`{command()}`; {os.cpu_count()} CPUs, {versions}"


def in_turns(names: Sequence[str], run: Callable[[str], Any], runs: int) -> dict[str, list[Any]]:
    """What every contender measures in each of so many rounds, the contenders one after another (A B A B)."""
    found: dict[str, list[Any]] = {name: [] for name in names}
    for number in range(runs):
        for name in names:
            found[name].append(run(name))
            print(f"round {number + 1}, {name}: {json.dumps(found[name][-1])}", file=sys.stderr, flush=True)
    return found
