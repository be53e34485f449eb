"""A posterior over the true score of every allocation, given the trials so far.

A Gaussian process whose kernel (`kernel`) states what is believed of multi-stage test-time scaling, around the mean
that the insights as one formula (`formula`) expect. Where subtasks declare metrics, their scores are evidence: a
posterior of its own predicts each subtask's score from what stands before it, and choices of like quality are alike to
the subtasks after them, whatever model they are of. Predictions average over several settings of the kernel's
hyperparameters, found by local search from prior draws and weighted by their posterior, so that few trials give wide
intervals. Pure numpy, deterministic, well under a second at 500 trials.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agenttts.pipeline.pairing import parted, read_options
from agenttts.posterior.formula import Formula, PairingIndices
from agenttts.posterior.kernel import SHARED, Encoded, Hyper, OwnPairs, Pairs, Structure, hyper_of
from agenttts.posterior.lessons import beliefs
from agenttts.posterior.observations import Observations
from agenttts.space.allocation import Allocation
from agenttts.study.experience import Experience
from agenttts.study.trial import Trial

Floats = NDArray[np.float64]
Sizes = Mapping[str, Mapping[str, float]]

_TIE = 5e-4
"""Posterior means that are no further apart look the same with three digits."""
_DRAWS = 32
_PARENTS = 4
_STEPS = (0.5, 0.35, 0.25, 0.15)
"""Spread of each round of local search over the hyperparameters, in units of their prior's."""
_CHILDREN = 3
_KEPT_FITS = 8
_KEPT_FITS_OF_MANY = 3
_MANY_TRIALS = 120
_LEARNED_FROM = 120
"""Most trials that the hyperparameters are learned from; predictions use all."""
_BLOCK = 512
"""Allocations that are predicted at once: the matrices of many would not fit a processor's cache."""
_FEW = 200
"""Trials that speak of deviations where these need only be no smaller than they are."""
_BAND = 125
"""Rows of a triangle that are multiplied at once."""
_LEAST_HALVED = 64
"""Smaller triangular matrices are inverted as they are."""
_HUGE = 1e30
"""More than any sum of squared whitened residuals."""
_erf = np.vectorize(math.erf, otypes=[float])


class Posterior(NamedTuple):
    """Marginal posterior of true scores, one entry per allocation."""

    mean: Floats
    sd: Floats


class Encoder:
    """Turns allocations into arrays."""

    def __init__(
        self,
        sizes: Sizes,
        structure: Structure,
        judges: Mapping[int, Surrogate],
        experience: Experience | None = None,
    ) -> None:
        self._structure, self._judges = structure, judges
        self._subtasks = list(sizes)
        self._pairings = [{name: i for i, name in enumerate(row)} for row in sizes.values()]
        self._parts = [_parts(list(row)) for row in sizes.values()]
        self._sizes = [_size_ranks(list(row.values())) for row in sizes.values()]
        most = max(each.settings.shape[1] for each in self._parts)
        self._ways = [_padded(np.column_stack([each.operators, each.settings]), 1 + most) for each in self._parts]
        self.formula = Formula(self._sizes, self._parts, *beliefs(sizes, experience))
        self._parameters: Floats | None = None

    def allocations(self, allocations: Sequence[Allocation]) -> Encoded:
        """Encode allocation objects."""
        return self.arrays(*self.choices(allocations))

    def learn(self, pairings: NDArray[np.int64], samples: Floats, scores: Floats, noise: Floats) -> None:
        """From now on, take the formula as linear around the parameters that are most probable after these trials."""
        covariance = self._missed(pairings, samples) + noise
        self._parameters = self.formula.most_probable(pairings, samples, scores, covariance)

    def fitted(self, observed: Observations) -> tuple[Floats, Floats]:
        """The formula's most probable parameters after what was observed, and `Formula.precision` there."""
        pairings, samples = self.choices([trial.allocation for trial in observed.trials])
        covariance = self._missed(pairings, samples) + observed.noise
        found = self.formula.most_probable(pairings, samples, observed.scores, covariance)
        return found, self.formula.precision(found, pairings, samples, covariance)

    def _missed(self, pairings: NDArray[np.int64], samples: Floats) -> Floats:
        """Covariance of what the formula misses, as it is expected."""
        data = self.arrays(pairings, samples)
        return Pairs(data, data, self._structure).kernel(hyper_of(np.zeros(data.model.shape[1] + SHARED)))

    def choices(self, allocations: Sequence[Allocation]) -> tuple[NDArray[np.int64], Floats]:
        """Indices of pairings and sample counts, both of shape (allocations, subtasks)."""
        shape = (len(allocations), len(self._subtasks))
        pairings, samples = np.zeros(shape, dtype=np.int64), np.ones(shape)
        for row, allocation in enumerate(allocations):
            for column, name in enumerate(self._subtasks):
                pairings[row, column] = self._pairings[column][allocation[name].pairing]
                samples[row, column] = allocation[name].samples
        return pairings, samples

    def arrays(self, pairings: NDArray[np.int64], samples: NDArray[np.float64]) -> Encoded:
        """Encode indices of pairings and sample counts, both of shape (allocations, subtasks)."""
        models = np.stack([each.models[pairings[:, i]] for i, each in enumerate(self._parts)], axis=1)
        ways = np.stack([self._ways[i][pairings[:, i]] for i in range(len(self._parts))], axis=1)
        sizes = np.stack([each[pairings[:, i]] for i, each in enumerate(self._sizes)], axis=1)
        axis = 1 - samples**-0.5 if self._structure.saturating else np.log2(samples) / 6
        quality = np.full(pairings.shape, np.nan)
        for i, judge in self._judges.items():
            quality[:, i] = judge.quality(pairings[:, : i + 1], samples[:, : i + 1])
        expected, slope = np.zeros(len(pairings)), np.zeros((len(pairings), 0))
        if self._parameters is not None:
            expected, slope = self.formula.linear(self._parameters, pairings, samples)
        return Encoded(pairings, models, ways, sizes, axis, quality, expected, slope)


class Surrogate:
    """The posterior after some trials.

    Args:
        sizes: Subtask -> pairing -> its model's parameter count (`Pipeline.sizes`).
        observed: What was observed.
        structure: Which insights to assume.
        judged: What `judges` makes of it, where that is known.
        experience: What earlier studies taught, where the structure assumes that it holds.
    """

    def __init__(
        self,
        sizes: Sizes,
        observed: Observations,
        structure: Structure | None = None,
        judged: Mapping[int, Surrogate] | None = None,
        experience: Experience | None = None,
    ) -> None:
        self.structure = structure or Structure()
        if judged is None:
            judged = judges(sizes, observed, self.structure)
        self.encoder = Encoder(sizes, self.structure, judged, experience if self.structure.experience else None)
        self._observed, trials, scores = observed, observed.trials, observed.scores
        some = np.linspace(0, len(trials) - 1, min(len(trials), _LEARNED_FROM)).astype(int)
        self._level, noise = float(scores.mean()), observed.noise[np.ix_(some, some)]
        pairings, samples = self.encoder.choices([trials[i].allocation for i in some])
        if self.structure.formula:
            self.encoder.learn(pairings, samples, scores[some], noise)
            self._level = 0.0
        data = self.encoder.arrays(pairings, samples)
        learned = _learn(data, scores[some] - self._level - data.expected, noise, self.structure)
        self._learned = learned[: _KEPT_FITS if len(trials) <= _MANY_TRIALS else _KEPT_FITS_OF_MANY]
        self.log_posterior = learned[0][1]
        """Of the best hyperparameters, up to a constant of the trials: compares structures on the same trials."""
        chances = np.array([log_posterior for _, log_posterior in self._learned])
        self._weights = np.exp(chances - chances.max())
        self._weights /= self._weights.sum()
        self._qualities: dict[tuple[float, ...], float] = {}

    # Made when something is predicted: to weigh a structure takes none.

    @cached_property
    def _data(self) -> Encoded:
        return self.encoder.allocations([trial.allocation for trial in self._observed.trials])

    @cached_property
    def _few(self) -> Encoded:
        """The first of them."""
        return self._data.rows(np.arange(min(_FEW, len(self._data))))

    @cached_property
    def _fits(self) -> list[_Fit]:
        pairs = Pairs(self._data, self._data, self.structure)
        residuals = self._observed.scores - self._level - self._data.expected
        return [_Fit(hyper_of(z), pairs, residuals, self._observed.noise) for z, _ in self._learned]

    def predict(self, encoded: Encoded, *, less: Encoded | None = None, roughly: bool = False) -> Posterior:
        """Marginal posterior of the true scores.

        Args:
            encoded: Allocations.
            less: One more; then of what the others score more than that. What is not known of both alike does not
                widen their difference.
            roughly: Let few of the trials speak of the deviations, which are then too large, never too small: they are
                most of the work.
        """
        if len(encoded) > _BLOCK:
            blocks = np.array_split(np.arange(len(encoded)), -(-len(encoded) // _BLOCK))
            parts = [self.predict(encoded.rows(block), less=less, roughly=roughly) for block in blocks]
            return Posterior(*(np.concatenate(each) for each in zip(*parts, strict=True)))
        whole = Pairs(self._data, encoded, self.structure)
        heard = Pairs(self._few, encoded, self.structure) if roughly else whole
        means, level = self._means(whole), self._level + encoded.expected
        beside = None
        if less is not None:
            means = means - self._means(Pairs(self._data, less, self.structure))
            level = encoded.expected - less.expected
            beside = Pairs(heard.left, less, self.structure), Pairs(less, encoded, self.structure)
        variances = np.array([fit.variance(heard, beside) for fit in self._fits])
        mean = self._weights @ means
        variance = self._weights @ (variances + means**2) - mean**2
        return Posterior(mean + level, np.sqrt(np.maximum(variance, 1e-12)))

    def means(self, encoded: Encoded) -> Floats:
        """The means of `predict`: its deviations are most of its work."""
        means = self._means(Pairs(self._data, encoded, self.structure))
        result: Floats = self._weights @ means + self._level + encoded.expected
        return result

    def _means(self, pairs: Pairs) -> Floats:
        """Of each fit, of the allocations that `pairs` compares the data with; shape (fits, allocations)."""
        return np.array([fit.mean(pairs) for fit in self._fits])

    def draws(self, encoded: Encoded, count: int, rng: np.random.Generator) -> Floats:
        """True scores drawn jointly from the posterior, shape (count, allocations)."""
        pairs, own = Pairs(self._data, encoded, self.structure), Pairs(encoded, encoded, self.structure)
        numbers = rng.multinomial(count, self._weights)
        drawn = [fit.draws(pairs, own, int(n), rng) for fit, n in zip(self._fits, numbers, strict=True) if n]
        result: Floats = np.concatenate(drawn) + self._level + encoded.expected
        return result

    def predict_allocations(self, allocations: Sequence[Allocation]) -> Posterior:
        """`predict` for allocation objects."""
        return self.predict(self.encoder.allocations(allocations))

    def quality(self, pairings: NDArray[np.int64], samples: NDArray[np.float64]) -> Floats:
        """Posterior means of allocations as arrays, of which many are the same: each is predicted once."""
        rows = [tuple(row) for row in np.hstack([pairings, samples]).tolist()]
        if new := list(dict.fromkeys(row for row in rows if row not in self._qualities)):
            of_new, split = np.array(new), pairings.shape[1]
            means = self.means(self.encoder.arrays(of_new[:, :split].astype(np.int64), of_new[:, split:]))
            self._qualities.update(zip(new, means.tolist(), strict=True))
        return np.array([self._qualities[row] for row in rows])

    def best(self, trials: Sequence[Trial]) -> Trial:
        """The trial with the highest posterior mean, the cheapest of those as high up to what is shown of a score; a
        whole one where there is one.

        What a cheaper trial did just as well, example by example, is passed over: that more should help is then only
        believed, not seen.
        """
        trials = [trial for trial in trials if trial.evaluation.whole] or trials
        means = self.means(self.encoder.allocations([trial.allocation for trial in trials]))
        left = list(zip(trials, means.tolist(), strict=True))
        while True:
            least = max(mean for _, mean in left) - _TIE
            best = min((trial for trial, mean in left if mean >= least), key=lambda trial: trial.cost)
            if not any(each.cost < best.cost and each.ties_with(best) for each in trials):
                return best
            left = [(trial, mean) for trial, mean in left if trial is not best]


class _Fit:
    """The process under one setting of the hyperparameters."""

    def __init__(self, hyper: Hyper, pairs: Pairs, residuals: Floats, noise: Floats) -> None:
        self._hyper = hyper
        # Inverted once: a posterior is asked for many small predictions, and each solve would factor anew.
        self._whitener = _inverse(np.linalg.cholesky(pairs.kernel(hyper) + noise))
        self._whitened = self._whitener @ residuals
        self._weights = self._whitener.T @ self._whitened

    def mean(self, pairs: Pairs) -> Floats:
        """Of the allocations that `pairs` compares the data with."""
        return pairs.weighted(self._hyper, self._weights)

    def variance(self, pairs: Pairs, beside: tuple[Pairs, Pairs] | None) -> Floats:
        """Of the allocations that `pairs` compares the first of the data with, or all.

        With `beside`, of their differences from another: that one compared with the data, and with them.
        """
        kernel, variance = pairs.kernel(self._hyper), pairs.prior_variance(self._hyper)
        if beside is not None:
            with_data, with_them = beside
            kernel -= with_data.kernel(self._hyper)
            variance += with_data.prior_variance(self._hyper) - 2 * with_them.kernel(self._hyper)[0]
        for start in range(0, len(kernel), _BAND):
            end = min(start + _BAND, len(kernel))
            # The whitener is a lower triangle: what is right of it is not worth multiplying.
            whitened = self._whitener[start:end, :end] @ kernel[:end]
            variance -= np.einsum("ij,ij->j", whitened, whitened)
        return np.maximum(variance, 1e-12)

    def draws(self, pairs: Pairs, own: Pairs, count: int, rng: np.random.Generator) -> Floats:
        """Joint draws for the allocations that `pairs` compares the data with, and `own` with one another."""
        whitened = self._whitener @ pairs.kernel(self._hyper)
        values, vectors = np.linalg.eigh(own.kernel(self._hyper) - whitened.T @ whitened)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        result: Floats = whitened.T @ self._whitened + rng.standard_normal((count, len(root))) @ root.T
        return result


def _inverse(lower: NDArray[np.floating[Any]]) -> Floats:
    """Of a lower triangular matrix, by halves: most of a general inverse would be spent on zeros."""
    if len(lower) <= _LEAST_HALVED:
        return np.asarray(np.linalg.inv(lower), dtype=np.float64)
    half, result = len(lower) // 2, np.zeros(lower.shape)
    result[:half, :half], result[half:, half:] = _inverse(lower[:half, :half]), _inverse(lower[half:, half:])
    result[half:, :half] = -result[half:, half:] @ (lower[half:, :half] @ result[:half, :half])
    return result


def judges(sizes: Sizes, observed: Observations, structure: Structure) -> Mapping[int, Surrogate]:
    """For every subtask but the last that reports scores of its own: their posterior, given what stands before it.

    The formula is of the last subtask's score: whether it is assumed makes no difference here.
    """
    names, alone = list(sizes), of_judges(structure)
    found: dict[int, Surrogate] = {}
    for i, name in enumerate(names[:-1]):
        if name in observed.reported:
            before = {name: sizes[name] for name in names[: i + 1]}
            found[i] = Surrogate(before, observed.of_subtask(list(before)), alone, dict(found))
    return found


def of_judges(structure: Structure) -> Structure:
    """What their posterior assumes where that of the scores assumes this."""
    return replace(structure, formula=False, experience=False)


def normal_cdf(z: float | Floats) -> Floats:
    """Standard normal distribution function."""
    result: Floats = 0.5 * (1 + _erf(np.asarray(z) / math.sqrt(2)))
    return result


def normal_density(z: float | Floats) -> Floats:
    """Standard normal density."""
    result: Floats = np.exp(-0.5 * np.asarray(z, dtype=float) ** 2) / math.sqrt(2 * math.pi)
    return result


def _parts(names: Sequence[str]) -> PairingIndices:
    """Which model, operator and settings each pairing is of."""
    models, operators, texts = zip(*map(parted, names), strict=True)
    settings = [read_options(text) for text in texts]
    options = dict.fromkeys(option for each in settings for option in each)
    by_option = [_indices([each.get(option, "") for each in settings]) for option in options]
    columns = np.array(by_option, dtype=np.int64).reshape(len(options), len(names)).T
    return PairingIndices(_indices(models), _indices(operators), columns)


def _indices(names: Sequence[str]) -> NDArray[np.int64]:
    """The place of each name among the distinct ones, in the order in which they are first met."""
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return np.array([places[name] for name in names], dtype=np.int64)


def _padded(columns: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    return np.pad(columns, ((0, 0), (0, width - columns.shape[1])))


def _size_ranks(parameters: Sequence[float]) -> Floats:
    """Log sizes scaled to [0, 1]."""
    logs = np.log(np.asarray(parameters, dtype=float))
    spread = logs.max() - logs.min()
    result: Floats = (logs - logs.min()) / spread if spread > 0 else np.zeros_like(logs)
    return result


def _learn(data: Encoded, residuals: Floats, noise: Floats, structure: Structure) -> list[tuple[Floats, float]]:
    """The best hyperparameters found, with their log posterior: prior draws, then local search around the best."""
    rng = np.random.default_rng(20250801)
    size, pairs = data.model.shape[1] + SHARED, OwnPairs(data, structure)
    noise = noise[pairs.places]
    joined = np.zeros((len(data) + 1, len(data) + 1))
    joined[-1, :-1], joined[-1, -1] = residuals, _HUGE
    places = np.ravel_multi_index(pairs.places, joined.shape)

    def scored(z: Floats) -> tuple[Floats, float]:
        """Log posterior of the hyperparameters, up to a constant."""
        # With the residuals as one more row, their whitened values come with the factor: nothing is left to solve. A
        # factorisation reads no more than the lower triangle.
        joined.ravel()[places] = pairs.kernel(hyper_of(z)) + noise
        factor = np.linalg.cholesky(joined)
        whitened, diagonal = factor[-1, :-1], np.diag(factor)[:-1]
        return z, -0.5 * float(whitened @ whitened + z @ z) - float(np.log(diagonal).sum())

    found = [scored(rng.normal(size=size)) for _ in range(_DRAWS)]
    for step in _STEPS:
        found.sort(key=lambda each: -each[1])
        found += [scored(z + step * rng.normal(size=size)) for z, _ in found[:_PARENTS] for _ in range(_CHILDREN)]
    return sorted(found, key=lambda each: -each[1])
