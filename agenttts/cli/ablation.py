"""What each part of the agent is worth: the agent as it is, and without one part at a time, with the same seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from agenttts.cli.problem import Problem
from agenttts.cli.run import Job, Run, Settings, compare_rows, require_seeds
from agenttts.posterior.insights import recommend
from agenttts.posterior.surrogate import Sizes
from agenttts.report import Comparison
from agenttts.searching.loop import Recommend
from agenttts.study.trial import Archive, Trial

_LUCKIEST = "luckiest mean"
ABLATION_NOTES = (
    "All rows have the same seeds. What is switched off is so in the search alone: every row but the luckiest mean "
    "recommends by the same posterior.",
    f"{_LUCKIEST}: no search of its own; from the trials of the row without racing, which have all seen every example, "
    "it recommends the one with the highest observed mean, which gets a held-out check of its own.",
)


@dataclass(frozen=True, kw_only=True)
class _Variant:
    name: str
    insights_off: frozenset[int] = frozenset()
    racing: bool = True
    choose: Recommend = recommend

    def run(self, problem: Problem, settings: Settings, *, seed: int, llm: str | None) -> Run:
        """One seed of it; variants that search alike share their study."""
        job = Job.create(problem, "agent", seed=seed, llm=llm, insights_off=self.insights_off, racing=self.racing)
        return Run(replace(job, choose=self.choose), replace(settings, racing=self.racing))


def _luckiest(_: Sizes, trials: Sequence[Trial]) -> Trial:
    best = Archive(trials=tuple(trials)).best
    assert best is not None, "a search that recommends has a trial"
    return best


_VARIANTS = (
    _Variant(name="agent"),
    *(_Variant(name=f"without insight {number}", insights_off=frozenset({number})) for number in (1, 2, 3)),
    _Variant(name="without all insights", insights_off=frozenset({1, 2, 3})),
    _Variant(name="without racing", racing=False),
    _Variant(name=_LUCKIEST, racing=False, choose=_luckiest),
)


def run_ablations(
    problem: Problem, seeds: int, settings: Settings, *, llm: str | None, quiet: bool
) -> list[Comparison]:
    """The agent and its ablations with every seed; each search is a study that can be resumed.

    Raises:
        ConfigError: On fewer than one seed, or an LLM that cannot be asked.
    """
    require_seeds(seeds)
    rows = {
        variant.name: [variant.run(problem, settings, seed=seed, llm=llm) for seed in range(seeds)]
        for variant in _VARIANTS
    }
    method = rows["agent"][0].job.method
    return compare_rows(problem, rows, heading=problem.heading(("method", method)), quiet=quiet)
