"""Bayesian optimisation by Optuna: its TPE and its Gaussian process, with the budget as a constraint.

A sampler is rebuilt from the archive at every call. It draws from the whole box of models and sample counts; what it
draws outside the budget, or of a table that lacks it, is shown to it as an infeasible trial, within the call, and never
evaluated.
"""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

import numpy as np

from agenttts._util.extras import installed
from agenttts._util.hints import install
from agenttts.baselines.random import RandomSearcher
from agenttts.errors import ConfigError
from agenttts.protocols import Searcher
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation, Choice
from agenttts.space.combinations import Options
from agenttts.study.trial import Archive, Proposal

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial

_BUDGET = "budget"


class _OptunaSearcher(Searcher):
    attempts = 100
    """Draws per proposal before a uniform one takes its place."""

    def __init__(self, *, seed: int = 0) -> None:
        self._seed = seed

    @abstractmethod
    def _sampler(self, seed: int) -> BaseSampler:
        """Optuna's sampler of this method."""

    async def propose(self, archive: Archive, space: SearchSpace, count: int) -> list[Proposal]:
        """See `protocols.Searcher.propose`."""
        study = self._study(archive, space)
        box = _distributions(space)
        chosen: dict[Allocation, None] = {}
        for _ in range(self.attempts * count):
            if len(chosen) == count:
                break
            allocation = _allocation(space, study.ask(box).params)
            if space.faults(allocation):
                study.add_trial(_frozen(space, box, allocation, 0.0))
            elif allocation.key not in archive.tried and allocation not in chosen:
                chosen[allocation] = None
        proposals = [Proposal(allocation, f"drawn by Optuna's {self.name.upper()}") for allocation in chosen]
        if len(proposals) < count:
            proposals += await self._filled(archive, space, count, chosen)
        return proposals

    async def _filled(
        self, archive: Archive, space: SearchSpace, count: int, chosen: dict[Allocation, None]
    ) -> list[Proposal]:
        """Uniform draws in place of those that the sampler did not find: it kept drawing what is tried or too dear."""
        drawn = await RandomSearcher(seed=self._seed).propose(archive, space, count)
        why = f"drawn uniformly: Optuna's {self.name.upper()} found nothing new within the budget"
        fresh = [Proposal(each.allocation, why) for each in drawn if each.allocation not in chosen]
        return fresh[: count - len(chosen)]

    def _study(self, archive: Archive, space: SearchSpace) -> Study:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        seed = int(archive.rng(self._seed).integers(2**31))
        study = optuna.create_study(direction="maximize", sampler=self._sampler(seed))
        box = _distributions(space)
        for trial in archive.evidence:
            study.add_trial(_frozen(space, box, trial.allocation, trial.evaluation.score))
        return study


class TPESearcher(_OptunaSearcher):
    """Optuna's tree-structured Parzen estimator."""

    name = "tpe"

    def _sampler(self, seed: int) -> BaseSampler:
        from optuna.samplers import TPESampler

        return TPESampler(seed=seed, multivariate=True)


class GPSearcher(_OptunaSearcher):
    """Optuna's Gaussian process with constrained expected improvement.

    Raises:
        ConfigError: When PyTorch or SciPy, which Optuna needs for it, is not installed.
    """

    name = "gp"
    attempts = 6  # a draw fits the process anew and takes about a second

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__(seed=seed)
        for package in ("torch", "scipy"):
            if not installed(package):
                raise ConfigError(f"the method 'gp' needs {package}: {install('gp')}")

    def _sampler(self, seed: int) -> BaseSampler:
        from optuna.samplers import GPSampler

        return GPSampler(seed=seed, warn_independent_sampling=False)


def _distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    from optuna.distributions import CategoricalDistribution, IntDistribution

    box: dict[str, BaseDistribution] = {}
    for options in space.options:
        name = options.subtask.name
        box[f"{name}.model"] = CategoricalDistribution([pairing.name for pairing in options.subtask.pairings])
        counts = _listed(options)
        box[f"{name}.samples"] = (
            IntDistribution(1, int(options.samples.max()), log=True)
            if counts is None
            else IntDistribution(0, len(counts) - 1)
        )
    return box


def _listed(options: Options) -> list[int] | None:
    """The sample counts that fit, where a subtask takes only some: Optuna then draws their position."""
    return None if options.subtask.sample_counts is None else [int(count) for count in np.unique(options.samples)]


def _allocation(space: SearchSpace, parameters: dict[str, Any]) -> Allocation:
    choices = {}
    for options in space.options:
        name, counts = options.subtask.name, _listed(options)
        drawn = parameters[f"{name}.samples"]
        choices[name] = Choice.of(parameters[f"{name}.model"], drawn if counts is None else counts[drawn])
    return Allocation(choices)


def _frozen(space: SearchSpace, box: dict[str, BaseDistribution], allocation: Allocation, score: float) -> FrozenTrial:
    from optuna.trial import create_trial

    parameters: dict[str, Any] = {}
    for options in space.options:
        name, counts = options.subtask.name, _listed(options)
        # Another budget's study may hold more samples than fit here; Optuna accepts no value outside its box.
        samples = min(allocation[name].samples, int(options.samples.max()))
        drawn = samples if counts is None else bisect_left(counts, samples)
        parameters |= {f"{name}.model": allocation[name].pairing, f"{name}.samples": drawn}
    excess = space.cost(allocation) - space.limit
    if excess <= 0 and allocation not in space:
        excess = abs(space.budget) or 1.0  # it fits, but a table lacks it
    return create_trial(params=parameters, distributions=box, value=score, constraints={_BUDGET: excess})
