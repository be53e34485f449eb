"""The posterior: it learns, it doubts, and its assumptions can be switched off."""

from __future__ import annotations

import numpy as np
import pytest

from agenttts.posterior.insights import recommend, representative
from agenttts.posterior.kernel import SHARED, Pairs, Structure, hyper_of
from agenttts.posterior.observations import Observations
from agenttts.posterior.surrogate import Surrogate, normal_cdf
from agenttts.space.allocation import Allocation
from agenttts.study.trial import Archive
from tests.agent.test_evidence import trials_on
from tests.baselines.test_searchers import PIPELINE, SPACE, archive_of, truth

SIZES = PIPELINE.sizes


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("saturating", [True, False])
@pytest.mark.parametrize("interacting", [True, False])
def test_the_posterior_learns_under_any_assumptions(ordered: bool, saturating: bool, interacting: bool) -> None:
    structure = Structure(ordered=ordered, saturating=saturating, interacting=interacting)
    everything = list(SPACE.enumerate())
    true = np.array([truth(allocation) for allocation in everything])
    errors, covered = [], []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        tried = [everything[i] for i in rng.choice(len(everything), 40, replace=False)]
        surrogate = Surrogate(SIZES, Observations(archive_of(*tried, rng=rng).trials), structure)
        posterior = surrogate.predict_allocations(everything)
        errors.append(np.sqrt(np.mean((posterior.mean - true) ** 2)))
        covered.append(np.mean(np.abs(posterior.mean - true) < 1.96 * posterior.sd))
    assert np.mean(errors) < 0.07
    assert np.mean(covered) > 0.7  # the truth multiplies: what assumes otherwise is a little too sure


def test_it_doubts_more_where_nothing_was_tried() -> None:
    near, far = Allocation({"a": ("s", 2), "b": ("s", 2)}), Allocation({"a": ("l", 2), "b": ("l", 1)})
    surrogate = Surrogate(SIZES, Observations(archive_of(Allocation({"a": ("s", 2), "b": ("s", 1)})).trials))
    sd = surrogate.predict_allocations([near, far]).sd
    assert sd[0] < 0.7 * sd[1]


def test_a_difference_is_as_sure_as_joint_draws_of_the_two_are() -> None:
    rng = np.random.default_rng(0)
    everything = list(SPACE.enumerate())
    tried = [everything[i] for i in rng.choice(len(everything), 20, replace=False)]
    surrogate = Surrogate(SIZES, Observations(archive_of(*tried, rng=rng).trials))
    base = Allocation({"a": ("m", 4), "b": ("m", 4)})
    others = [Allocation({"a": ("m", 4), "b": ("m", 5)}), Allocation({"a": ("l", 1), "b": ("s", 1)})]
    encoded = surrogate.encoder.allocations([base, *others])
    gain = surrogate.predict(surrogate.encoder.allocations(others), less=surrogate.encoder.allocations([base]))
    drawn = surrogate.draws(encoded, 20_000, rng)
    differences = drawn[:, 1:] - drawn[:, :1]
    assert gain.mean == pytest.approx(differences.mean(axis=0), abs=0.005)
    assert gain.sd == pytest.approx(differences.std(axis=0), rel=0.05)
    alone = surrogate.predict_allocations(others).sd
    assert gain.sd[0] < 0.5 * alone[0] < gain.sd[1]  # neighbours share what is not known of them


@pytest.mark.parametrize("family", ["table", "four-stage", "stage-metrics"])
@pytest.mark.parametrize("structure", [Structure(), Structure(formula=False), Structure(interacting=False)])
def test_a_weighted_sum_of_a_kernel_is_that_of_all_its_pairs(family: str, structure: Structure) -> None:
    problem, trials = trials_on(family, 0, 30, 10)
    encoder = Surrogate(problem.pipeline.sizes, Observations(trials), structure).encoder
    encoded, rng = encoder.allocations([trial.allocation for trial in trials]), np.random.default_rng(0)
    pairs = Pairs(encoded.rows(np.arange(20)), encoded, structure)
    weights, hyper = rng.normal(size=20), hyper_of(rng.normal(size=encoded.model.shape[1] + SHARED))
    assert pairs.weighted(hyper, weights) == pytest.approx(weights @ pairs.kernel(hyper))


def test_recommending_by_posterior_mean_beats_the_luckiest_mean() -> None:
    regrets: dict[str, list[float]] = {"posterior": [], "luckiest": []}
    everything = list(SPACE.enumerate())
    for seed in range(20):
        rng = np.random.default_rng(seed)
        tried = [everything[i] for i in rng.choice(len(everything), 30, replace=False)]
        trials = archive_of(*tried, rng=rng).trials
        best = max(truth(allocation) for allocation in tried)
        luckiest = Archive(trials=trials).best
        assert luckiest is not None
        regrets["luckiest"].append(best - truth(luckiest.allocation))
        regrets["posterior"].append(best - truth(recommend(SIZES, trials).allocation))
    assert np.mean(regrets["posterior"]) < 0.6 * np.mean(regrets["luckiest"])


def test_of_equals_the_cheaper_is_recommended() -> None:
    assert recommend(SIZES, archive_of(SPACE.cheapest).trials).allocation == SPACE.cheapest


def test_normal_distribution_function_against_tables() -> None:
    assert normal_cdf(np.array([-1.96, 0.0, 1.0])) == pytest.approx([0.0249979, 0.5, 0.8413447], abs=1e-6)


def test_of_very_many_trials_the_best_and_some_others_are_fitted() -> None:
    few = archive_of(SPACE.cheapest, SPACE.largest_once).trials
    assert representative(few) == few
    rng = np.random.default_rng(0)
    everything = list(SPACE.enumerate())
    trials = archive_of(*(everything[i] for i in rng.integers(len(everything), size=1200)), rng=rng).trials
    fitted = representative(trials)
    assert 400 < len(fitted) <= 500
    assert [trial.number for trial in fitted] == sorted({trial.number for trial in fitted})
    best = Archive(trials=trials).best
    assert best in fitted and recommend(SIZES, trials) in fitted
