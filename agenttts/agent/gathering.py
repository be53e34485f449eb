"""The statements of `evidence`, worked out from the posterior around the incumbent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from agenttts.agent.evidence import (
    Evidence,
    Interaction,
    Option,
    Preference,
    Saturation,
    Upgrade,
    WayPreference,
)
from agenttts.pipeline import Subtask
from agenttts.pipeline.pairing import Pairing
from agenttts.posterior.curves import Floats, fit_curve
from agenttts.posterior.insights import Hypothesis
from agenttts.posterior.surrogate import Surrogate
from agenttts.proposals.candidates import from_allocations, rungs
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation, Choice
from agenttts.study.trial import Archive

_CURVE_POINTS = 4
_DRAWS = 64


def gather_evidence(
    archive: Archive, space: SearchSpace, surrogate: Surrogate, hypotheses: Sequence[Hypothesis], on: frozenset[int]
) -> Evidence:
    """The evidence for the insights that are switched on.

    Args:
        archive: Has at least one trial.
        space: What is searched.
        surrogate: Fitted to the archive.
        hypotheses: What the trials say of the insights.
        on: Which insights (1, 2, 3) to report.
    """
    # A study that began under a larger budget holds trials that do not fit this one.
    feasible = [trial for trial in archive.trials if trial.allocation in space]
    incumbent = surrogate.best(feasible).allocation if feasible else space.cheapest
    posterior = surrogate.predict_allocations([incumbent])
    around = _Around(archive, incumbent, space, surrogate)
    options = [(s, _options(s, incumbent, space, surrogate)) for s in space.pipeline.subtasks]
    return Evidence(
        incumbent=incumbent,
        score=float(posterior.mean[0]),
        sd=float(posterior.sd[0]),
        budget=space.scale.rate(space.budget),
        hypotheses=tuple(hypotheses),
        preferences=tuple(_preference(s, each, around) for s, each in options) if 1 in on else (),
        ways=tuple(preference for s, each in options for preference in _ways(s, each, around)),
        saturations=tuple(_saturations(around)) if 2 in on else (),
        interactions=tuple(_interactions(around)) if 3 in on else (),
    )


@dataclass(frozen=True)
class _Around:
    """What statements about the incumbent rest on."""

    archive: Archive
    incumbent: Allocation
    space: SearchSpace
    surrogate: Surrogate

    def draws(self, allocations: Sequence[Allocation]) -> Floats:
        """Scores drawn jointly from the posterior, shape (draws, allocations); the same for the same archive."""
        encoded = self.surrogate.encoder.allocations(allocations)
        return self.surrogate.draws(encoded, _DRAWS, self.archive.rng(0))


def _options(subtask: Subtask, incumbent: Allocation, space: SearchSpace, surrogate: Surrogate) -> list[Option]:
    """Every pairing of a subtask at its best, the best first.

    That is with the sample count of highest posterior mean among those that fit when the other subtasks stay as they
    are; a pairing of which none fits is left out.
    """
    choices = [
        (each.name, count) for each in subtask.pairings for count in _counts(subtask, each.name, incumbent, space)
    ]
    if not choices:
        return []
    rows = from_allocations(space, [incumbent.replaced(subtask.name, *choice) for choice in choices])
    encoded = surrogate.encoder.arrays(rows.pairings, rows.samples.astype(float))
    means = surrogate.means(encoded).tolist()
    best: dict[str, int] = {}
    for row, (pairing, _) in enumerate(choices):
        if pairing not in best or means[row] > means[best[pairing]]:
            best[pairing] = row
    posterior = surrogate.predict(encoded.rows(np.array(list(best.values()))))
    found = [
        Option(model=pairing, samples=choices[row][1], score=mean, sd=sd)
        for (pairing, row), mean, sd in zip(best.items(), *map(np.ndarray.tolist, posterior), strict=True)
    ]
    return sorted(found, key=lambda option: -option.score)


def _ways(subtask: Subtask, options: Sequence[Option], around: _Around) -> Iterator[WayPreference]:
    """Which operator a subtask prefers, and which value of each of its options, where there are several."""
    questions: dict[str, Callable[[Pairing], str]] = {}
    if len(subtask.operators) > 1:
        questions["operator"] = lambda pairing: pairing.operator.name
    for name, values in subtask.options.items():
        if len(values) > 1:
            questions[name] = partial(_setting, name)
    for question, way_of in questions.items():
        best: dict[str, Option] = {}
        for option in options:
            best.setdefault(way_of(subtask.pairing(option.model)), option)
        with_it = [around.incumbent.replaced(subtask.name, each.model, each.samples) for each in best.values()]
        draws = around.draws(with_it)
        yield WayPreference(
            subtask=subtask.name,
            question=question,
            ways=tuple(best),
            options=tuple(best.values()),
            chance=float((draws[:, 0] > draws[:, 1]).mean()) if len(best) > 1 else 1.0,
        )


def _setting(option: str, pairing: Pairing) -> str:
    return str(pairing.options[option])


def _preference(subtask: Subtask, options: Sequence[Option], around: _Around) -> Preference:
    with_it = [around.incumbent.replaced(subtask.name, option.model, option.samples) for option in options]
    draws = around.draws(with_it)
    return Preference(
        subtask=subtask.name,
        options=tuple(options),
        chance=float((draws[:, 0] > draws[:, 1]).mean()) if len(options) > 1 else 1.0,
        upgrades=tuple(_upgrades(options, [around.space.cost(each) for each in with_it], draws, around.space.budget)),
    )


def _upgrades(options: Sequence[Option], costs: Sequence[float], draws: Floats, budget: float) -> list[Upgrade]:
    cheapest = int(np.argmin(costs))
    gains = draws - draws[:, [cheapest]]
    upgrades = [
        Upgrade(
            model=option.model,
            samples=option.samples,
            gain=float(gains[:, i].mean()),
            sd=float(gains[:, i].std()),
            share=(costs[i] - costs[cheapest]) / (abs(budget) or 1.0),
        )
        for i, option in enumerate(options)
        if costs[i] > costs[cheapest]
    ]
    return sorted(upgrades, key=lambda upgrade: -upgrade.rate)


def _counts(subtask: Subtask, model: str, incumbent: Allocation, space: SearchSpace) -> list[int]:
    """The sample counts worth predicting that fit."""
    least, most = subtask.pairing(model).least_samples, space.most_samples(incumbent, subtask.name, model)
    further = () if subtask.sample_counts else (least,)
    return sorted({count for count in (*rungs(subtask), *further) if least <= count <= most})


def _saturations(around: _Around) -> list[Saturation]:
    """One for every (subtask, model) that has been tried and can have enough sample counts to fit a curve."""
    found = []
    for subtask in around.space.pipeline.subtasks:
        tried = {trial.allocation[subtask.name].pairing for trial in around.archive.trials}
        for model in (each.name for each in subtask.pairings if each.name in tried):
            counts = _counts(subtask, model, around.incumbent, around.space)
            if len(counts) >= _CURVE_POINTS:
                draws = around.draws([around.incumbent.replaced(subtask.name, model, count) for count in counts])
                found.append(Saturation(subtask=subtask.name, model=model, curve=fit_curve(counts, draws)))
    return found


def _interactions(around: _Around) -> list[Interaction]:
    """For every edge of the graph, the best downstream option behind each upstream model that was tried."""
    archive, incumbent, space = around.archive, around.incumbent, around.space
    found = []
    for downstream in space.pipeline.subtasks:
        for upstream in space.pipeline.parents(downstream.name):
            for model, samples in _contrasting(archive, upstream, incumbent):
                behind = incumbent.replaced(upstream, model, samples)
                for option in _options(downstream, behind, space, around.surrogate)[:1]:
                    found.append(
                        Interaction(
                            upstream=upstream,
                            choice=str(Choice.of(model, samples)),
                            quality=_quality(archive, upstream, Choice.of(model, samples)),
                            downstream=downstream.name,
                            best=option,
                        )
                    )
    return found


def _quality(archive: Archive, upstream: str, choice: Choice) -> float | None:
    """The mean of the subtask's own scores over the trials with this choice, weighted by their examples."""
    evaluations = [trial.evaluation for trial in archive.trials if trial.allocation[upstream] == choice]
    scores = [result.subtask_scores.get(upstream) for each in evaluations for result in each.results]
    known = [score for score in scores if score is not None]
    return float(np.mean(known)) if known else None


def _contrasting(archive: Archive, upstream: str, incumbent: Allocation) -> list[tuple[str, int]]:
    """The incumbent's choice, and each other tried model with the most samples it was tried with."""
    choices = {incumbent[upstream].pairing: incumbent[upstream].samples}
    for trial in archive.trials:
        choice = trial.allocation[upstream]
        if choice.pairing != incumbent[upstream].pairing:
            choices[choice.pairing] = max(choices.get(choice.pairing, 0), choice.samples)
    return list(choices.items())
