"""What earlier studies save a new one: the agent cold, warm, and after a world upside down.

    nice python benchmarks/experience.py --families table four-stage --seeds 2 --first-seed 0 --jobs 2  # to try it
    python benchmarks/experience.py --seeds 5 --jobs 32 --out benchmarks/results/experience  # minutes on 32 cores

One family is left out at a time. The problem of a family and a seed is searched

- cold: without experience, as `agenttts search` does; its first trials are a portfolio by the formula's own prior, so
  that what warm gains over it is what the other studies taught;
- warm: with the experience of the cold studies of the same seed of all other families: other tasks, of which nothing is
  the same but the world that they are drawn from (and the sizes of the models, where there are as many); the paper's
  tasks on questions have stages of the same names, and two of them models that retrieve alike;
- adversary: with the same studies, the sizes of whose models were reversed: what was the largest passes for smallest.

The problems are synthetic but for "minihop", recorded samples of real models (`problems.py`), and the paper's six
tasks, tables of what simulated models scored (`landscapes.py`); no model runs. Regret is the true score of the best
allocation within the budget less that of the recommended one. Evaluations to a regret of 0.02 are those after which it
stayed there, at most all that were made. Intervals of 95 %: of means and of paired differences by Student's t, of the
ratio by 2,000 draws of problems.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from landscapes import TASKS
from numpy.typing import NDArray
from problems import NAMES, Problem, problem
from repeated import command
from searched import FIRST_SEED, Record, Watch, half_width, processes, searched, settled

import agenttts as at
from agenttts.posterior.experience import LEAST_TRIALS
from agenttts.posterior.insights import EXPERIENCE_NUMBER, weighed_posterior
from agenttts.posterior.kernel import Structure
from agenttts.searching.learning import ALL
from agenttts.study.spec import StudySpec
from agenttts.study.trial import Archive, Proposal

FAMILIES = (*NAMES, *TASKS)
COLD, WARM, ADVERSARY = ARMS = "cold", "warm", "adversary"
MARKS = (100, 150, 200, 250, 300, 350, 400, 450, 500, 600, 700, 800, 900, 1000, 1250, 1500)
SHOWN = (100, 250, 500, 1000, 1500)
CLOSE = 0.02


@dataclass(frozen=True, kw_only=True)
class Run(Record):
    """One search of one problem."""

    arm: str
    to_close: int
    """Example evaluations after which the regret stayed within `CLOSE`; all that were made where it did not."""
    log_odds: float | None
    """That the trials gave experience, at the end; None without it."""


@dataclass(frozen=True)
class Source:
    """A finished study."""

    spec: StudySpec
    archive: Archive

    @property
    def reversed(self) -> Source:
        """The same, its models' sizes the other way round."""
        sizes = {stage: dict(zip(row, reversed(row.values()), strict=True)) for stage, row in self.spec.sizes.items()}
        return replace(self, spec=replace(self.spec, sizes=sizes))

    def keep(self, name: str, store: at.Store) -> None:
        """Put it into a store under a name."""
        study = store.start(name, self.spec)
        for trial in self.archive.trials:
            store.add_trial(
                study,
                Proposal(trial.allocation, trial.rationale),
                trial.evaluation,
                cost=trial.cost,
                searcher=trial.searcher,
                round=trial.round,
            )


def run(arm: str, family: str, seed: int, last: int, sources: Mapping[str, Source]) -> tuple[Run, Source]:
    """One search, and its study."""
    posed, store = problem(family, seed), at.Store()
    watch = Watch(posed, marks=[mark for mark in MARKS if mark <= last], last=last)
    for name, source in sources.items():
        (source.reversed if arm == ADVERSARY else source).keep(name, store)
    warm = [ALL] if sources else []
    result, seconds = searched(
        watch,
        at.searcher("agent", llm="none", seed=seed),
        store,
        study_name="target",
        seed=seed,
        racing=at.Racing(),
        counterfactuals=False,
        experience=warm,
    )
    to_close = settled(watch.carried, CLOSE)
    found = Run(
        arm=arm,
        family=family,
        seed=seed,
        regrets=watch.carried,
        to_close=last if to_close is None else to_close,
        trials=len(watch.archive.trials),
        log_odds=_log_odds(posed, watch.archive),
        seconds=seconds,
    )
    return found, Source(result.study.spec, watch.archive)


def _log_odds(posed: Problem, archive: Archive) -> float | None:
    weighed = weighed_posterior(posed.space.pipeline.sizes, archive.trials, Structure(), archive.experience)[1]
    return next((each.log_odds for each in weighed if each.insight == EXPERIENCE_NUMBER), None)


def _job(arguments: tuple[str, str, int, int, Mapping[str, Source]]) -> tuple[Run, Source]:
    return run(*arguments)


def runs_of(families: Sequence[str], seeds: Sequence[int], last: int, jobs: int) -> Iterator[Run]:
    """The cold studies of all families, then each family with the others' experience."""
    with processes(jobs, families) as pool:
        cold: dict[tuple[str, int], Source] = {}
        asked = [(COLD, family, seed, last, {}) for seed in seeds for family in families]
        for found, source in pool.imap_unordered(_job, asked):
            cold[found.family, found.seed] = source
            yield found
        further = [
            (arm, family, seed, last, _others(cold, family, seed))
            for seed in seeds
            for family in families
            for arm in (WARM, ADVERSARY)
        ]
        for found, _ in pool.imap_unordered(_job, further):
            yield found


def _others(cold: Mapping[tuple[str, int], Source], family: str, seed: int) -> dict[str, Source]:
    """Of the same seed, those that have enough trials to teach anything."""
    found = {other: source for (other, of), source in cold.items() if of == seed and other != family}
    return {other: source for other, source in found.items() if len(source.archive.trials) >= LEAST_TRIALS}


def report(runs: Sequence[Run]) -> str:
    """Markdown: all families together, then each."""
    families = list(dict.fromkeys(each.family for each in runs))
    parts = [_table("all families", runs)] if len(families) > 1 else []
    return "\n".join([*parts, *(_table(name, [each for each in runs if each.family == name]) for name in families)])


def _table(title: str, runs: Sequence[Run]) -> str:
    by_arm = {arm: sorted((r for r in runs if r.arm == arm), key=lambda r: (r.family, r.seed)) for arm in ARMS}
    shown = [mark for mark in SHOWN if mark in runs[0].regrets]
    heads = ["arm", *(f"regret at {mark:,}" for mark in shown), f"evaluations to {CLOSE}", "of cold's", "dropped"]
    lines = [f"\n**{title}**, {len(by_arm[COLD])} problems\n", _row(heads), "| --- " * len(heads) + "|"]
    close = {arm: np.array([each.to_close for each in of], dtype=float) for arm, of in by_arm.items()}
    for arm, of in by_arm.items():
        regrets = [_mean([each.regrets[mark] for each in of], 4) for mark in shown]
        dropped = [each.log_odds < -np.log(3) for each in of if each.log_odds is not None]
        kept = f"{sum(dropped)} of {len(dropped)}" if dropped else "-"
        share = "-" if arm == COLD else ratio(close[arm], close[COLD])
        lines.append(_row([arm, *regrets, _mean(close[arm], 0), share, kept]))
    for arm in (WARM, ADVERSARY):
        pairs = list(zip(by_arm[arm], by_arm[COLD], strict=True))
        less = [_mean([mine.regrets[mark] - cold.regrets[mark] for mine, cold in pairs], 4) for mark in shown]
        lines.append(_row([f"{arm} less cold, paired", *less, _mean(close[arm] - close[COLD], 0), "", ""]))
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _mean(values: Sequence[float] | NDArray[np.float64], digits: int) -> str:
    if len(values) < 2:
        return f"{np.mean(values):,.{digits}f}"
    return f"{np.mean(values):,.{digits}f} ± {half_width(values):,.{digits}f}"


def ratio(mine: NDArray[np.float64], cold: NDArray[np.float64]) -> str:
    """Of the sums, with its interval of 95 %."""
    drawn = np.random.default_rng(0).integers(len(mine), size=(2000, len(mine)))
    low, high = np.quantile(mine[drawn].sum(axis=1) / cold[drawn].sum(axis=1), [0.025, 0.975])
    return f"{mine.sum() / cold.sum():.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    """Run, print the tables, and write them with everything else where `--out` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=FAMILIES)
    parser.add_argument("--seeds", type=int, default=5, help="problems per family")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--last", type=int, default=MARKS[-1], choices=MARKS, help="example evaluations per run")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, help="write OUT.json and OUT.md")
    given = parser.parse_args()
    seeds, started = range(given.first_seed, given.first_seed + given.seeds), time.monotonic()
    runs = []
    for each in runs_of(given.families, seeds, given.last, given.jobs):
        runs.append(each)
        if given.out:  # after each run: an hour's work is not lost to the last minute
            given.out.parent.mkdir(parents=True, exist_ok=True)
            kept = {"command": command(), "runs": [asdict(one) for one in runs]}
            given.out.with_suffix(".json").write_text(json.dumps(kept, indent=1) + "\n")
    runs.sort(key=lambda each: given.families.index(each.family))
    text = f"`{command()}`: synthetic, recorded and simulated problems, no model ran\n{report(runs)}"
    if given.out:
        given.out.with_suffix(".md").write_text(text + "\n")
    print(text)
    print(f"\n{len(runs)} runs in {time.monotonic() - started:.0f} s on {given.jobs} processes")


if __name__ == "__main__":
    main()
