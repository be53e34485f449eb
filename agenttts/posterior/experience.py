"""What finished studies teach of a new one: empirical Bayes on the formula's parameters.

The formula is fitted to every study alone. A parameter x of stage r in study s is then taken as

    x = common + of stages named r + own

each normal around 0, and is seen with the error of its fit. How much is shared and how much is a study's own is not
known: predictions average over a grid of it, weighted by the marginal likelihood of what was seen, so that few studies
teach little and studies that disagree teach less. What is expected of a new study carries its own share, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agenttts.posterior.insights import representative
from agenttts.posterior.kernel import Structure
from agenttts.posterior.lessons import LEVEL, SIZE, parameter_names, spans, stretched
from agenttts.posterior.surrogate import Encoder, Sizes
from agenttts.study.experience import ANY_STAGE, Experience, Lesson
from agenttts.study.trial import Trial

Floats = NDArray[np.float64]

LEAST_TRIALS = 8
"""Fewer teach nothing."""
_COMMON = 0.5
"""Variance of what all stages have in common."""
_OF_A_ROLE = (0.0, 0.1, 0.3)
"""Of what the stages of one name have."""
_OWN = (0.03, 0.1, 0.3, 0.6, 1.0)
"""Of what is a study's own."""
_SURE = 0.99
"""A fit as uncertain as this saw nothing of a parameter."""


class _Seen(NamedTuple):
    """One parameter in one study: what its trials say beside the formula's prior."""

    stage: str
    value: float
    variance: float


def learned(studies: Mapping[str, tuple[Sizes, Sequence[Trial]]]) -> Experience:
    """What these studies teach.

    Args:
        studies: Name -> its subtasks with the parameter counts of their pairings' models, and its trials, at least
            `LEAST_TRIALS`.
    """
    seen: dict[str, list[_Seen]] = defaultdict(list)
    for sizes, trials in studies.values():
        for parameter, each in _saw(sizes, trials):
            seen[parameter].append(each)
    stages = {stage: None for sizes, _ in studies.values() for stage in sizes}
    lessons = {
        stage: {parameter: _lesson(stage, values) for parameter, values in seen.items()}
        for stage in (ANY_STAGE, *stages)
    }
    return Experience(studies=tuple(sorted(studies)), lessons=lessons)


def _saw(sizes: Sizes, trials: Sequence[Trial]) -> list[tuple[str, _Seen]]:
    """Every parameter that is carried over, as one study saw it."""
    encoder = Encoder(sizes, Structure(), {})
    fits = encoder.fitted(representative(trials))
    names = [(stage, name) for stage, row in sizes.items() for name in parameter_names(list(row))]
    found = []
    for (stage, name), mean, sd in zip(names, *fits, strict=True):
        span = spans(sizes[stage])
        if name == LEVEL or sd > _SURE or (name == SIZE and not span):
            continue
        # The prior of the fit, a standard normal distribution, is taken out again.
        precision = 1 / sd**2 - 1
        alone = Lesson(mean / sd**2 / precision, precision**-0.5)
        value, error = stretched(alone, 1 / span) if name == SIZE else alone
        found.append((name, _Seen(stage, value, error**2)))
    return found


def _lesson(stage: str, seen: Sequence[_Seen]) -> Lesson:
    """Of one parameter of a new study's stage of this name."""
    values = np.array([each.value for each in seen])
    errors = np.diag([each.variance for each in seen])
    alike = np.array([[one.stage == other.stage for one in seen] for other in seen])
    mine = np.array([one.stage == stage for one in seen])
    grid = [_predicted(values, errors, alike, mine, role, own) for role, own in product(_OF_A_ROLE, _OWN)]
    evidence, means, variances = np.array(grid).T
    weights = np.exp(evidence - evidence.max())
    weights /= weights.sum()
    mean = float(weights @ means)
    return Lesson(mean, float(weights @ (variances + means**2) - mean**2) ** 0.5)


def _predicted(
    values: Floats, errors: Floats, alike: NDArray[np.bool_], mine: NDArray[np.bool_], role: float, own: float
) -> tuple[float, float, float]:
    """Log marginal likelihood of what was seen; mean and variance of the new one."""
    covariance = _COMMON + role * alike + own * np.eye(len(values)) + errors
    shared = _COMMON + role * mine
    weights = np.linalg.solve(covariance, np.column_stack([values, shared]))
    evidence = -(values @ weights[:, 0] + np.linalg.slogdet(covariance)[1]) / 2
    return float(evidence), float(shared @ weights[:, 0]), float(_COMMON + role + own - shared @ weights[:, 1])
