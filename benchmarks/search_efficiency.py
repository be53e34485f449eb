"""How good is what each method recommends, after how many example evaluations? On problems of known optimum.

    python benchmarks/search_efficiency.py --quick                      # one family, a few seeds, under 3 minutes
    python benchmarks/search_efficiency.py --seeds 20 --out benchmarks/results/search_efficiency

The problems are synthetic but for the family "minihop", recorded samples of real models (`problems.py`).

Regret is the true score of the best allocation within the budget less that of the recommended one. An example
evaluation is one example under one allocation. Every method runs on the same problems, within the same loop, limits
and store. `agent` is the rule planner, as `agenttts search` runs it: looks at part of the examples (racing), and
a recommendation by posterior mean. The other methods run as they come: every trial sees every example and the best
observed mean is recommended; with `+` they race and recommend as the agent does, so that only the proposals differ.
`halving` decides itself how many examples a trial sees. Infeasible allocations cost nobody anything here, but for the
external peer: `--peer PYTHON` names an interpreter that has agenttts and the package agentopt-py (`agentopt_peer.py`);
its selectors recommend once, at their own end.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence, Set
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from problems import MINIHOP, NAMES, problem
from searched import FIRST_SEED, Record, Watch, evaluations, half_width, processes, searched, settled

import agenttts as at
from agenttts.posterior.frontier import estimates
from agenttts.posterior.insights import posterior
from agenttts.searching.racing import Racing

CHECKPOINTS = (500, 1000, 1500, 3000, 8000, 10000)
METHODS = ("agent", "tpe", "gp", "halving", "evolution", "coordinate", "grid", "random", "gp+", "tpe+", "random+")
PEER = "agentopt:"
PEERS = ("agentopt:auto", "agentopt:hill_climbing", "agentopt:epsilon_lucb")
CLOSE = 0.01


@dataclass(frozen=True, kw_only=True)
class Run(Record):
    """What one method recommended on one problem along the way; no regret before a peer's only recommendation."""

    method: str
    evaluations_to_close: int | None
    """Example evaluations at the first checkpoint from which on the regret stayed within `CLOSE`."""
    trials_to_optimum: int | None
    """Number of the first trial of an optimal allocation."""
    evaluations: int
    """Example evaluations in all."""
    over_budget: int = 0
    """Example evaluations of allocations over the budget."""
    regret_at_end: float = float("nan")
    held: bool | None = None
    """Whether the 95 % interval that goes with what is recommended at the end holds its true score."""


def run(method: str, family: str, seed: int, last: int) -> Run:
    """One method on one problem."""
    name, plain = method.removesuffix("+"), method != "agent" and not method.endswith("+")
    posed = problem(family, seed)
    watch = Watch(posed, marks={*range(250, last + 1, 250), *_marks(last)}, last=last, plain=plain)
    searcher = at.searcher(name, seed=seed, llm="none")
    racing = None if plain else Racing()
    _, seconds = searched(watch, searcher, study_name="benchmark", seed=seed, racing=racing)
    archive, regrets = watch.archive, watch.carried
    optimal = (trial.number for trial in archive.trials if posed.regret(trial.allocation) < 1e-9)
    return Run(
        method=method,
        family=family,
        seed=seed,
        regrets={mark: regrets[mark] for mark in _marks(last)},
        evaluations_to_close=settled(regrets, CLOSE),
        trials_to_optimum=next(optimal, None),
        trials=len(archive.trials),
        evaluations=evaluations(archive),
        regret_at_end=regrets[last],
        held=_held(watch),
        seconds=seconds,
    )


def _held(watch: Watch) -> bool:
    """Whether the interval of the recommendation holds the truth: Wilson's where the best mean is recommended."""
    chosen, archive = watch.chosen(watch.archive), watch.archive
    true, (low, high) = watch.problem.true_score(chosen.allocation), chosen.evaluation.interval
    if not watch.plain:
        surrogate = posterior(watch.problem.space.pipeline.sizes, archive.trials)
        low, high = estimates(surrogate, archive.trials)[chosen.number].expected.interval
    return low <= true <= high


def run_peer(method: str, family: str, seed: int, last: int, python: str) -> Run:
    """One selector of the external peer on one problem, in its own environment."""
    script = str(Path(__file__).with_name("agentopt_peer.py"))
    command = [python, script, method.removeprefix(PEER), family, str(seed)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(ended.stdout)
    regrets = {mark: found["regret"] for mark in _marks(last) if found["evaluations"] <= mark}
    return Run(
        method=method,
        family=family,
        seed=seed,
        regrets=regrets,
        evaluations_to_close=found["evaluations"] if found["regret"] <= CLOSE else None,
        trials_to_optimum=None,
        trials=0,
        evaluations=found["evaluations"],
        seconds=found["seconds"],
        over_budget=found["over_budget"],
        regret_at_end=found["regret"],
    )


def _job(arguments: tuple[str, str, int, int, str]) -> Run | str:
    method, *rest, last, peer = arguments
    try:
        return run_peer(*arguments) if method.startswith(PEER) else run(method, *rest, last)
    except at.ConfigError as error:
        return f"{method} left out: {error}"


def _marks(last: int) -> list[int]:
    """The checkpoints that a run passes, its own end included."""
    return sorted({*(mark for mark in CHECKPOINTS if mark <= last), last})


def table(runs: Sequence[Run]) -> str:
    """Markdown: family by family, methods by how far they went and by regret there."""
    lines = []
    for family in dict.fromkeys(each.family for each in runs):
        group = [each for each in runs if each.family == family]
        marks = _passed(group)
        heads = ["method", *(f"regret at {mark:,}" for mark in marks), f"evaluations to {CLOSE}", "trials to optimum"]
        heads += ["interval holds at the end", "s"]
        lines += [f"\n**{family}**\n", "| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in _rows(group, marks)]
    return "\n".join(lines)


def _passed(runs: Sequence[Run]) -> list[int]:
    """The checkpoints that any of the runs passed."""
    return sorted({mark for each in runs for mark in each.regrets})


def _rows(runs: Sequence[Run], marks: Sequence[int]) -> Iterator[list[str]]:
    grouped = defaultdict(list)
    for each in runs:
        grouped[each.method].append(each)
    for method, group in sorted(grouped.items(), key=lambda item: _standing(item[1], marks)):
        regrets = [_interval(_known(group, mark)) for mark in marks]
        yield [
            method,
            *regrets,
            _reached([each.evaluations_to_close for each in group]),
            _reached([each.trials_to_optimum for each in group]),
            _share([each.held for each in group]),
            f"{np.mean([each.seconds for each in group]):.1f}",
        ]


def _standing(group: Sequence[Run], marks: Sequence[int]) -> tuple[float, float]:
    """What methods are sorted by: those that went farthest first, then by regret where they ended."""
    last = max((mark for mark in marks if _known(group, mark)), default=0)
    return -last, float(np.mean(_known(group, last))) if last else np.inf


def _known(group: Sequence[Run], mark: int) -> list[float]:
    """Regrets after so many evaluations; none unless every run had recommended something by then."""
    known = [each.regrets[mark] for each in group if mark in each.regrets]
    return known if len(known) == len(group) else []


def _interval(values: Sequence[float]) -> str:
    if not values:
        return "-"
    return f"{np.mean(values):.4f} ± {half_width(values):.4f}"


def _reached(values: Sequence[int | None]) -> str:
    """The median, where half of the runs got there, and how many did."""
    got = sorted(value for value in values if value is not None)
    middle = (len(values) - 1) // 2
    median = f"{got[middle]:,}" if len(got) > middle else "-"
    return f"{median} ({len(got)} of {len(values)})"


def peer_lines(runs: Sequence[Run]) -> list[str]:
    """What the peer's selectors recommended at their own end, however far that is."""
    lines = []
    peers = [each for each in runs if each.method.startswith(PEER)]
    for family, method in dict.fromkeys((each.family, each.method) for each in peers):
        group = [each for each in peers if (each.family, each.method) == (family, method)]
        spent, over = (sum(getattr(each, name) for each in group) for name in ("evaluations", "over_budget"))
        regret = _interval([each.regret_at_end for each in group])
        lines.append(
            f"- {family}, {method}: regret {regret} after {spent / len(group):,.0f} example evaluations on average, "
            f"{over / spent:.0%} of them over the budget"
        )
    return ["", *lines] if lines else []


def _share(values: Sequence[bool | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{sum(known)} of {len(known)}" if known else "-"


def draw(runs: Sequence[Run], path: Path) -> None:
    """Regret against example evaluations, one panel per family, with 95 % bands over the problems."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    families = list(dict.fromkeys(each.family for each in runs))
    columns = min(3, len(families))
    rows = -(-len(families) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(5 * columns, 3.6 * rows), squeeze=False, layout="constrained")
    # The same colour in every panel, whatever methods it has.
    looks = {method: f"C{i % 10}" for i, method in enumerate((*METHODS[1:], *PEERS))}
    lines = {}
    for axis, family in zip(axes.flat, families, strict=False):
        of_family = [each for each in runs if each.family == family]
        marks = _passed(of_family)
        for method in sorted({each.method for each in of_family}, key=(*METHODS, *PEERS).index):
            group = [each for each in of_family if each.method == method]
            shown = [mark for mark in marks if _known(group, mark)]
            if not shown:
                continue
            values = np.array([_known(group, mark) for mark in shown])
            mean = values.mean(axis=1)
            half = np.nan_to_num([half_width(each) for each in values])
            style = {"color": looks.get(method, "black"), "ls": "--" if method.endswith("+") else "-"}
            width = 1.2 if method in looks else 2.5
            (lines[method],) = axis.plot(shown, mean, marker="o", markersize=3, lw=width, **style)
            axis.fill_between(shown, np.maximum(mean - half, 0), mean + half, alpha=0.1, color=style["color"])
        kind = "recorded" if family == MINIHOP else "synthetic"
        axis.set(title=f"{family} ({kind})", xscale="log", xlabel="example evaluations", ylabel="regret")
        # What would run into the next label has none.
        crowded = {mark for mark, after in pairwise(marks) if after < 1.3 * mark}
        axis.set_xticks(marks, ["" if mark in crowded else f"{mark:,}" for mark in marks])
        axis.minorticks_off()
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    for axis in axes.flat[len(families) :]:
        axis.remove()
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=7)
    figure.savefig(path, dpi=90)


def main() -> None:
    """Run, print the table, and write it with everything else where `--out` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=list(NAMES), choices=list(NAMES))
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=20, help="problems per family")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--last", type=int, default=3000, help="example evaluations per run")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--peer", default="", help="interpreter of an environment with agenttts and agentopt-py")
    parser.add_argument("--quick", action="store_true", help="family 'table', 8 problems, 1,500 example evaluations")
    parser.add_argument("--out", type=Path, help="write OUT.json, OUT.md and OUT.png")
    parser.add_argument(
        "--resume", action="store_true", help="keep the runs of OUT.json; make those it lacks, or of which it has less"
    )
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.families, arguments.seeds, arguments.last = ["table"], 8, 1500
        arguments.methods = [name for name in arguments.methods if name.removesuffix("+") != "gp"]
    if arguments.peer:
        arguments.methods = [*arguments.methods, *PEERS]
    if arguments.resume and not arguments.out:
        parser.error("--resume needs --out: it keeps the runs of OUT.json")
    makings, runs = kept(arguments.out) if arguments.resume else ([], [])
    makings.append(making(arguments))
    jobs, notes = _jobs(arguments, {_key(each) for each in runs if _went(each, arguments.last)}), set()
    started = time.monotonic()
    with processes(arguments.processes, arguments.families) as pool:
        for done in pool.imap_unordered(_job, jobs):
            if isinstance(done, str):
                notes.add(done)
                continue
            runs = [*(each for each in runs if _key(each) != _key(done)), done]
            if arguments.out:  # after each run: hours of work are not lost to the last minute
                save(makings, runs, arguments.out)
    runs.sort(key=lambda each: (NAMES.index(each.family), each.seed))
    if arguments.out:
        save(makings, runs, arguments.out)
        arguments.out.with_suffix(".md").write_text(report(runs).lstrip() + "\n")
        draw(runs, arguments.out.with_suffix(".png"))
    print("\n".join([*sorted(notes), report(runs)]))
    print(f"\n{len(jobs)} runs in {time.monotonic() - started:.0f} s on {arguments.processes} processes")


def _key(run: Run) -> tuple[str, str, int]:
    return run.method, run.family, run.seed


def _went(run: Run, last: int) -> bool:
    """Whether a run went as far; a peer ends where it ends."""
    return run.method.startswith(PEER) or max(run.regrets) >= last


def _jobs(arguments: argparse.Namespace, done: Set[tuple[str, str, int]]) -> list[tuple[str, str, int, int, str]]:
    """Those that are not done yet, one problem after another, so that a part of them compares methods as well."""
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    # Minihop's options are too many for the exhaustive start of the peer.
    wanted = [
        (method, family, seed)
        for seed in seeds
        for family in arguments.families
        for method in arguments.methods
        if not (method.startswith(PEER) and family == MINIHOP)
    ]
    return [(*each, arguments.last, arguments.peer) for each in wanted if each not in done]


def report(runs: Sequence[Run]) -> str:
    """Everything in Markdown."""
    return "\n".join([table(runs), *peer_lines(runs)])


def making(arguments: argparse.Namespace) -> dict[str, Any]:
    """What it takes to make the runs again."""
    return {
        "agenttts": version("agenttts"),
        "optuna": version("optuna"),
        "python": platform.python_version(),
        "settings": {name: str(value) for name, value in vars(arguments).items()},
    }


def save(makings: Sequence[dict[str, Any]], runs: Sequence[Run], out: Path) -> None:
    """Keep every figure."""
    out.parent.mkdir(parents=True, exist_ok=True)
    whole = {"made": makings, "runs": [asdict(each) for each in runs]}
    out.with_suffix(".json").write_text(json.dumps(whole, indent=1) + "\n")


def kept(out: Path) -> tuple[list[dict[str, Any]], list[Run]]:
    """What `save` kept: how the runs were made, and the runs."""
    whole = json.loads(out.with_suffix(".json").read_text())
    runs = [
        Run(**{**each, "regrets": {int(mark): regret for mark, regret in each["regrets"].items()}})
        for each in whole["runs"]
    ]
    return whole["made"], runs


if __name__ == "__main__":
    main()
