"""What each part of the agent is worth: the agent as it is, and without one part at a time, with the same seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from agenttts.cli.problem import Problem
from agenttts.cli.run import Planned, compare_rows, method_in_words, require_seeds
from agenttts.posterior.surrogate import Sizes
from agenttts.report import Comparison
from agenttts.searching.plan import Recommend, SearchPlan
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
    counterfactuals: bool = True
    choose: Recommend | None = None

    def plan(self, planned: Planned, *, seed: int, llm: str | None) -> SearchPlan:
        """One seed of it; variants that search alike share their study."""
        found = planned(
            "agent",
            seed=seed,
            llm=llm,
            insights_off=self.insights_off,
            racing=self.racing,
            counterfactuals=self.counterfactuals,
        )
        return replace(found, choose=self.choose)


def _luckiest(_: Sizes, trials: Sequence[Trial]) -> Trial:
    best = Archive(trials=tuple(trials)).best
    assert best is not None, "a search that recommends has a trial"
    return best


_VARIANTS = (
    _Variant(name="agent"),
    *(_Variant(name=f"without insight {number}", insights_off=frozenset({number})) for number in (1, 2, 3)),
    _Variant(name="without all insights", insights_off=frozenset({1, 2, 3})),
    _Variant(name="without racing", racing=False),
    _Variant(name="without counterfactual trials", counterfactuals=False),
    _Variant(name=_LUCKIEST, racing=False, choose=_luckiest),
)


def run_ablations(problem: Problem, planned: Planned, seeds: int, *, llm: str | None, quiet: bool) -> list[Comparison]:
    """The agent and its ablations with every seed; each search is a study that can be resumed.

    Raises:
        ConfigError: On fewer than one seed, or an LLM that cannot be asked.
    """
    require_seeds(seeds)
    rows = {variant.name: [variant.plan(planned, seed=seed, llm=llm) for seed in range(seeds)] for variant in _VARIANTS}
    return compare_rows(problem, rows, ("method", method_in_words(rows["agent"][0].searcher)), quiet=quiet)
