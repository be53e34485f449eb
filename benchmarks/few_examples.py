"""How good is what each method recommends when there are few examples? On problems of known optimum.

    python benchmarks/few_examples.py --out benchmarks/results/few_examples --picture docs/images/few_examples.svg

The search sees 10, 20, 50, 100 or 200 examples of a problem, and every method has as many example evaluations as 30
trials on all of them take. Regret is the true score, over all examples that there might be, of the best allocation
within the budget less that of the recommended one. "shared" is synthetic: examples of unlike difficulty, no model runs;
"minihop" is recorded samples of real models (`problems.py`). Nothing was tuned on their seeds.

`agent` (the rule planner) and the baselines try 30 allocations on all examples, as the paper does; successive halving
decides itself how many examples a trial sees. The agent recommends by posterior mean, the others the best observed
mean; with `+` they recommend as the agent does, so that only the proposals differ.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
from largest_once import STYLE
from problems import MINIHOP, problem
from repeated import command
from searched import FIRST_SEED, Watch, half_width, processes, searched

import agenttts as at

EXAMPLES = (10, 20, 50, 100, 200)
FAMILIES = ("shared", MINIHOP)
METHODS = ("agent", "tpe", "gp", "halving", "evolution", "coordinate", "grid", "random", "tpe+", "random+")


@dataclass(frozen=True)
class Run:
    """What one method recommended on one problem in the end."""

    method: str
    family: str
    seed: int
    examples: int
    regret: float


def run(job: tuple[str, str, int, int, int]) -> Run | str:
    """One method on one problem; why not, where something is not installed."""
    method, family, seed, examples, trials = job
    name, plain = method.removesuffix("+"), method != "agent" and not method.endswith("+")
    posed = problem(family, seed, examples)
    try:
        searcher = at.searcher(name, seed=seed, llm="none")
    except at.ConfigError as error:
        return f"{method} left out: {str(error).split(': ')[0]}"  # what follows is how this machine installs it
    watch = Watch(posed, last=trials * examples, plain=plain)
    searched(watch, searcher, study_name="few", seed=seed)
    return Run(method, family, seed, examples, posed.regret(watch.chosen(watch.archive).allocation))


def kept(out: Path) -> list[Run]:
    """The runs of an `OUT.json`, where there is one."""
    file = out.with_suffix(".json")
    return [Run(**each) for each in json.loads(file.read_text())["runs"]] if file.exists() else []


def regrets(runs: Sequence[Run], family: str, method: str, examples: int) -> list[float]:
    """Of every problem."""
    wanted = (family, method, examples)
    return [each.regret for each in runs if (each.family, each.method, each.examples) == wanted]


def table(runs: Sequence[Run]) -> str:
    """Markdown: family by family, regret by method and number of examples, with 95 % intervals over problems."""
    lines = []
    for family in dict.fromkeys(each.family for each in runs):
        counts = sorted({each.examples for each in runs if each.family == family})
        methods = dict.fromkeys(each.method for each in runs if each.family == family)
        problems = len(regrets(runs, family, next(iter(methods)), counts[0]))
        kind = "recorded" if family == MINIHOP else "synthetic"
        lines += [f"\n**{family}** ({kind}), {problems} problems\n"]
        lines += ["| method | " + " | ".join(f"{count} examples" for count in counts) + " |"]
        lines += ["| --- " * (len(counts) + 1) + "|"]
        for method in sorted(methods, key=lambda name: np.mean(regrets(runs, family, name, counts[0]))):
            found = [regrets(runs, family, method, count) for count in counts]
            shown = [f"{np.mean(each):.3f} ± {half_width(each):.3f}" for each in found]
            lines.append("| " + " | ".join([method, *shown]) + " |")
    return "\n".join(lines)


WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 420, 330, 52, 96, 62, 52
_LABELS = 14
"""Least distance between two labels."""


def picture(runs: Sequence[Run]) -> str:
    """Regret against examples, a panel for each family: the agent with its intervals, and every baseline."""
    families = list(dict.fromkeys(each.family for each in runs))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH * len(families)} {HEIGHT}" role="img">',
        "<title>Regret of what is recommended, against the number of examples</title>",
        STYLE,
        "<style>path.other { fill: none; stroke: #8c959f; stroke-width: 1.2 }</style>",
        f'<rect class="paper" width="{WIDTH * len(families)}" height="{HEIGHT}"/>',
        f'<text class="title" x="{LEFT}" y="24">Regret after the evaluations of 30 trials</text>',
    ]
    for place, family in enumerate(families):
        group = [each for each in runs if each.family == family and not each.method.endswith("+")]
        parts += [f'<g transform="translate({place * WIDTH} 0)">', *_panel(group, family), "</g>"]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(runs: Sequence[Run], family: str) -> list[str]:
    counts = sorted({each.examples for each in runs})
    methods = list(dict.fromkeys(each.method for each in runs))
    means = {m: [float(np.mean(regrets(runs, family, m, count))) for count in counts] for m in methods}
    top = math.ceil(20 * max(map(max, means.values()))) / 20

    def x(place: int) -> float:
        return LEFT + place / max(len(counts) - 1, 1) * (WIDTH - LEFT - RIGHT)

    def y(regret: float) -> float:
        return HEIGHT - BOTTOM - min(max(regret, 0) / top, 1) * (HEIGHT - TOP - BOTTOM)

    kind = "recorded samples" if family == MINIHOP else "synthetic"
    parts = [f'<text class="small" x="{LEFT}" y="46">{family}: {kind}</text>']
    for level in np.linspace(0, top, 6):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(level):.1f}" y2="{y(level):.1f}"/>')
        parts.append(f'<text class="small" x="{LEFT - 6}" y="{y(level) + 4:.1f}" text-anchor="end">{level:.2f}</text>')
    for place, count in enumerate(counts):
        parts.append(f'<text class="small" x="{x(place):.1f}" y="{HEIGHT - 32}" text-anchor="middle">{count}</text>')
    parts.append(f'<text class="small" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">'
                 "examples</text>")  # fmt: skip
    lowest = math.inf
    for method in sorted(methods, key=lambda name: means[name][-1]):
        style = "found" if method == "agent" else "other"
        line = "L".join(f"{x(place):.1f} {y(mean):.1f}" for place, mean in enumerate(means[method]))
        parts.append(f'<path class="{style}" d="M{line}"/>')
        lowest = min(y(means[method][-1]) + 4, lowest - _LABELS)
        label = "found" if method == "agent" else "small"
        parts.append(f'<text class="{label}" x="{WIDTH - RIGHT + 8}" y="{lowest:.1f}">{method}</text>')
    for place, count in enumerate(counts if "agent" in methods else ()):
        mean, half = means["agent"][place], half_width(regrets(runs, family, "agent", count))
        parts.append(f'<line class="found" x1="{x(place):.1f}" x2="{x(place):.1f}" y1="{y(mean - half):.1f}" '
                     f'y2="{y(mean + half):.1f}"/>')  # fmt: skip
    return parts


def main() -> None:
    """Run, print the table, and write it with every figure where `--out` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=list(FAMILIES))
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--examples", nargs="+", type=int, default=list(EXAMPLES), help="200 at most")
    parser.add_argument("--seeds", type=int, default=20, help="problems per family")
    parser.add_argument("--trials", type=int, default=30, help="on all examples; evaluations are what counts")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument(
        "--out", type=Path, help="write OUT.json and OUT.md; runs that OUT.json holds are not made again"
    )
    parser.add_argument("--picture", type=Path, help="write this SVG file")
    given = parser.parse_args()
    runs, said = (kept(given.out) if given.out else []), set[str]()
    known = {(each.method, each.family, each.seed, each.examples) for each in runs}
    seeds = range(FIRST_SEED, FIRST_SEED + given.seeds)
    jobs = [
        (method, family, seed, examples, given.trials)
        for seed, examples, family, method in product(seeds, given.examples, given.families, given.methods)
        if (method, family, seed, examples) not in known
    ]
    with processes(given.jobs, {family for _, family, *_ in jobs}) as pool:
        for done in pool.imap_unordered(run, jobs):
            if isinstance(done, str):
                said.add(done)
                continue
            runs.append(done)
            if given.out:  # after each run: hours of work are not lost to the last minute
                whole = {"command": command(), "runs": [asdict(each) for each in runs]}
                given.out.with_suffix(".json").write_text(json.dumps(whole) + "\n")
    lines = [*sorted(said), table(runs)]
    print("\n".join(lines))
    if given.out:
        head = ["# Few examples", "", f"`{command()}`", "", *(__doc__ or "").split("\n\n", 2)[2].split("\n"), *lines]
        given.out.with_suffix(".md").write_text("\n".join(head).rstrip() + "\n")
    if given.picture:
        given.picture.write_text(picture(runs))


if __name__ == "__main__":
    main()
