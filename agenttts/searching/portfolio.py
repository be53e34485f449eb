"""The first trials that earlier studies choose: few allocations, of which one should be good whatever the new task is.

Half of the tasks are drawn from what the studies taught, half as if there were none, for the studies may mislead. The
first allocation is the best on average over these tasks; each further one raises most what the best of those chosen
scores on average (a portfolio: what suits the same tasks as one before it adds nothing).
"""

from __future__ import annotations

import numpy as np

from agenttts.agent.candidates import candidates
from agenttts.posterior.kernel import Structure
from agenttts.posterior.surrogate import Encoder
from agenttts.space import SearchSpace
from agenttts.study.experience import Experience
from agenttts.study.trial import EXPERIENCE, Archive, Proposal

PORTFOLIO = 5
"""First trials."""
_TASKS = 300
_SEED = 20250801


def portfolio(archive: Archive, space: SearchSpace) -> list[Proposal]:
    """The first trials that are still to be tried; none without experience that was learned.

    Args:
        archive: The study so far, with its experience.
        space: What is searched.
    """
    missing = PORTFOLIO - sum(trial.searcher == EXPERIENCE for trial in archive.trials)
    if archive.experience is None or not archive.experience.lessons or missing <= 0:
        return []
    chosen = [each for each in _chosen(archive.experience, space) if each.allocation.key not in archive.tried]
    return chosen[:missing]


def _chosen(experience: Experience, space: SearchSpace) -> list[Proposal]:
    rng = np.random.default_rng(_SEED)
    pool = candidates(space, rng)
    formulas = [Encoder(space.pipeline.sizes, Structure(), {}, taught).formula for taught in (experience, None)]
    tasks = rng.standard_normal((_TASKS // 2, formulas[0].parameters))
    scores = np.vstack([each.scores(tasks, pool.pairings, pool.samples.astype(float)) for each in formulas])
    best = np.full(len(scores), -np.inf)
    found = []
    for _ in range(min(PORTFOLIO, len(pool))):
        index = int(np.argmax(np.maximum(scores, best[:, None]).mean(axis=0)))
        best = np.maximum(best, scores[:, index])
        taught = scores[: len(tasks), index]
        mean, sd = float(taught.mean()), float(taught.std())
        why = f"first trial from experience ({experience}): {mean:.2f} ± {1.96 * sd:.2f} expected by what they taught"
        found.append(Proposal(pool.allocation(index), why, searcher=EXPERIENCE))
    return found
