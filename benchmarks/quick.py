"""What the package takes of its own, in minutes, against the medians that are kept: what became slower is named.

    make bench                               # compares with benchmarks/results/quick.json
    python benchmarks/quick.py --keep        # measures again, and keeps the medians

CPU time of processes, so that other work beside them matters little, in units of a loop of 5 million additions in the
same round, so that machines can be compared roughly. Every figure is measured in turns with the others. "Slower" is
what is so beyond both intervals. The whole benchmarks are named in docs/benchmarks.md; none of them is replaced.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from repeated import Interval, in_turns, interval, shown

HERE = Path(__file__).parent
KEPT = HERE / "results" / "quick.json"
UNIT = "a loop of 5 million additions"
_CLI = "from agenttts.cli import main; main()"
_LOOP = """
total = 0
for number in range(5_000_000):
    total += number
"""
_AGENT = """
import asyncio, agenttts as at
from own_time import archive, space
from agenttts.posterior.insights import posterior
searched = space(operators={operators})
trials = archive(searched, {trials}, {judged})
{then}
"""
_PROPOSE = 'asyncio.run(at.searcher("agent", llm="none").propose(trials, searched, 1))'
_RECOMMEND = "posterior(searched.pipeline.sizes, trials.evidence).best(trials.trials)"
_ASK = """
from store_latency import Load, alone
from endpoint import endpoint
with endpoint(0.05) as url:
    print(alone(url, "sqlite", Load(examples=400, samples={samples})))
"""


def cpu_s(code: str, *words: str) -> float:
    """Of Python running this code, its own children included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", f"import sys; sys.path.append({str(HERE)!r})\n{code}", *words]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise SystemExit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def agent(then: str, trials: int, judged: tuple[str, ...] = (), *, operators: bool = False) -> Callable[[], float]:
    """The agent's own time on the archives of `own_time.py`."""
    return partial(cpu_s, _AGENT.format(operators=operators, trials=trials, judged=judged, then=then))


FIGURES: dict[str, Callable[[], float]] = {
    UNIT: partial(cpu_s, _LOOP),
    "import agenttts": partial(cpu_s, "import agenttts"),
    "agenttts --help": partial(cpu_s, _CLI, "--help"),
    "a search of 6 trials, minihop-recorded": partial(
        cpu_s, _CLI, "search", "minihop-recorded", "--llm", "none", "--trials", "6"
    ),
    "propose from 120 trials": agent(_PROPOSE, 120),
    "propose from 500 trials": agent(_PROPOSE, 500),
    "propose from 250 trials, stages scored": agent(_PROPOSE, 250, ("code", "review")),
    "propose from 250 trials, four operators": agent(_PROPOSE, 250, operators=True),
    "recommend from 500 trials": agent(_RECOMMEND, 500),
    "400 requests of 1 sample, into SQLite": partial(cpu_s, _ASK.format(samples=1)),
    "400 requests of 8 samples, into SQLite": partial(cpu_s, _ASK.format(samples=8)),
}


def measured(runs: int) -> dict[str, Interval]:
    """Each figure in units of the loop of its round."""
    found = in_turns(list(FIGURES), lambda name: round(FIGURES[name](), 3), runs)
    loops = found.pop(UNIT)
    return {
        name: interval([each / loop for each, loop in zip(values, loops, strict=True)])
        for name, values in found.items()
    }


def compared(now: dict[str, Interval], kept: dict[str, Interval]) -> tuple[str, list[str]]:
    """A table, and what is slower than before."""
    lines, slower = [f"In units of {UNIT}, CPU time:\n", "| what | now | kept |", "|---|---|---|"], []
    for name, found in now.items():
        before = kept.get(name)
        lines.append(f"| {name} | {shown(found, '.2f')} | {shown(before, '.2f') if before else 'not kept'} |")
        if before and found.low > before.high:
            slower.append(f"{name}: {found.median / before.median:.2f} times the CPU time of before")
    return "\n".join(lines), slower


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--keep", action="store_true", help="keep these medians instead of comparing with those kept")
    asked = parser.parse_args()
    now = measured(asked.runs)
    if asked.keep:
        KEPT.write_text(
            json.dumps({name: [round(each, 3) for each in one] for name, one in now.items()}, indent=1) + "\n"
        )
        print(f"kept in {KEPT.relative_to(HERE.parent)}")
        return
    table, slower = compared(now, {name: Interval(*one) for name, one in json.loads(KEPT.read_text()).items()})
    print(table)
    print(*(slower or ["\nNothing is slower beyond its interval."]), sep="\n")
    sys.exit(bool(slower))


if __name__ == "__main__":
    main()
