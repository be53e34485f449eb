"""How much is left to gain? A searcher that knows what its problem was drawn from, and nothing of it but scores.

    nice python benchmarks/oracle.py --families table --seeds 2 --first-seed 0     # to try it: a minute
    python benchmarks/oracle.py --methods oracle agent --seeds 8 --out benchmarks/results/oracle  # an hour on one core
    python benchmarks/oracle.py --methods untold --families late-saturation table no-size-preference no-interaction
        --last 1500 --seeds 8 --out benchmarks/results/oracle --resume

The oracle knows the generator of a synthetic family (`environments.synthetic`): its formula, what its parameters are
drawn from, which insight is false, and how a coin falls. It holds draws of all the parameters given the scores so far.
Each round the draws are weighed by the scores that came last, drawn anew by weight, and moved by Markov chains that
leave that posterior unchanged. It looks next where a look is expected to tell most of how much better others are than
what it would recommend, and recommends the allocation of highest posterior mean: the best that anybody can make of the
scores that it has seen, but for the error of its draws. Its looks are good ones, not the best that there are. Where
examples differ in difficulty (noise "shared"), the likelihood integrates over the difficulty of each; that those of a
problem may be easier or harder on average than expected is left out. The method "untold" knows all this, but not which
insight is false: none or one of three, at even odds before the first look.

Problems, coins and costs are those of `search_efficiency.py`, whose kept runs have the agent's regrets from 500
evaluations on; method "agent" is the cold arm of `experience.py`, up to 500, for what it takes to come close. The
generator draws each problem anew, so nothing that earlier ones could teach says more of the next than the oracle knows
from the start. "By its own belief" is how much more the best allocation is expected to score than the recommended one,
given the scores: a second look at the same regret, with less luck in it, and a check of the draws, as is how often the
truth of what it recommends lies in the 95 % of its draws. A coin depends on seed and allocation alone, so families of
like choices share their luck on problems of one seed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from experience import CLOSE, COLD, MARKS, ratio
from experience import run as agent_run
from numpy.typing import NDArray
from problems import Problem, problem
from repeated import command
from searched import FIRST_SEED, Record, half_width, settled

import agenttts as at
from agenttts.environments.synthetic import (
    DIFFICULTY_SD,
    FAMILIES,
    UNITS,
    Family,
    SyntheticEnvironment,
    SyntheticStage,
    feasible,
    stage_of,
    true_scores,
)

Floats = NDArray[np.float64]
Regrets = Mapping[int, float]
COMPARED = (
    "table",
    "tight",
    "loose",
    "four-stage",
    "ladder",
    "late-saturation",
    "no-size-preference",
    "no-interaction",
    "two-stage",
    "many-examples",
)
ORACLE, UNTOLD, AGENT = METHODS = "oracle", "untold", "agent"
TWISTS = ("", "sizes", "late", "independent")
LAST = 3000
WITHIN = (500, 1500)
"""Example evaluations in which a search may come close; up to the first the agent's regret is known at all marks."""
SHOWN = (0, 100, 250, 500, 1000, 1500, LAST)
SEARCHES = Path(__file__).with_name("results") / "search_efficiency.json"
DRAWS = 512
_MOVES = 6
"""Of each kind, a round."""
_FEW = 64
"""Draws that say which allocations may be best: all of them speak of those."""
_BEST = 32
"""Allocations of highest mean that are looked at beside those that are best in a draw."""
_STEEP = 1.6
"""Makes the logistic prior of a coordinate about as wide as a normal one."""
_OTHERS = 100
"""Allocations, drawn at random, that may be looked at beside those that may be best."""
_CHUNK = 512
_NODES = np.linspace(-3.5, 3.5, 15)
_NODE_WEIGHTS = np.exp(-(_NODES**2) / 2) / np.exp(-(_NODES**2) / 2).sum()
_LEVELS = np.linspace(-12, 12, 961)
_CHANCES = (1 / (1 + np.exp(-(_LEVELS[:, None] + DIFFICULTY_SD * _NODES)))) @ _NODE_WEIGHTS


class Seen(NamedTuple):
    """What was looked at."""

    models: NDArray[np.int64]
    """Shape (allocations, stages), like the samples."""
    samples: Floats
    scores: Floats
    """Shape (allocations, examples), not a number where an example was not looked at."""


class Posterior:
    """Draws of a problem's parameters, given what was seen.

    Coordinates are of all stages: logistic ones behind the `UNITS`, normal ones behind the models' deviations and,
    where sizes say nothing, normal ones whose ranks are the order of the models.

    Args:
        family: What the problem is drawn from.
        seed: Of the draws.
        draws: How many.
    """

    def __init__(self, family: Family, seed: int, draws: int = DRAWS) -> None:
        self._family, self._rng = family, np.random.default_rng([20250802, seed])
        normals = family.models * (2 if family.twist == "sizes" else 1)
        self._width = len(UNITS) + normals
        self._logistic = np.tile(np.arange(self._width) < len(UNITS), family.stages)
        self._z = self._prior(draws)
        self._likelihood, self._of = np.zeros(draws), _unseen(family)
        self.evidence = 0.0
        """Log probability of what was seen."""

    def scores(self, models: NDArray[np.int64], samples: Floats, draws: int = DRAWS) -> Floats:
        """True scores of allocations in (some of) the draws, shape (draws, allocations)."""
        return true_scores(self._family, self._stages(self._z[:draws]), models, samples)

    def learn(self, seen: Seen, moves: int = _MOVES) -> None:
        """Take in what was seen, which includes all that was seen before."""
        self._of = _counted(seen) if self._family.noise == "coin" else _patterns(seen)
        before, self._likelihood = self._likelihood, self._log_likelihood(self._z)
        gained = self._likelihood - before
        weights = np.exp(gained - gained.max())
        self.evidence += float(gained.max() + np.log(weights.mean()))
        self._keep(_systematic(weights, len(weights), self._rng.random()))
        for _ in range(moves):
            order = self._rng.permutation(len(self._z))
            for half, other in (order[::2], order[1::2]), (order[1::2], order[::2]):
                self._shift(half, other)
                self._redraw(half)

    def _keep(self, kept: NDArray[np.int64]) -> None:
        # In any order: the first few are as good as any.
        kept = self._rng.permutation(kept)
        self._z, self._likelihood = self._z[kept], self._likelihood[kept]

    def _shift(self, half: NDArray[np.int64], other: NDArray[np.int64]) -> None:
        """Steps that would leave the normal distribution unchanged that the other half looks like."""
        z, mean = self._z[half], self._z[other].mean(axis=0)
        covariance = 0.95 * np.cov(self._z[other].T) + 0.05 * np.eye(z.shape[1])
        root = np.linalg.cholesky(covariance)
        white = np.linalg.solve(root, (z - mean).T).T
        length = np.exp(self._rng.uniform(np.log(0.1), 0, (len(half), 1)))
        moved = np.sqrt(1 - length**2) * white + length * self._rng.standard_normal(white.shape)
        tried = mean + moved @ root.T
        gained = self._log_prior(tried) - self._log_prior(z) + ((moved**2).sum(axis=1) - (white**2).sum(axis=1)) / 2
        self._accept(half, tried, gained)

    def _redraw(self, half: NDArray[np.int64]) -> None:
        """A few coordinates from the prior."""
        fresh = self._rng.random((len(half), self._z.shape[1])) < 2 / self._z.shape[1]
        tried = np.where(fresh, self._prior(len(half)), self._z[half])
        self._accept(half, tried, np.zeros(len(half)))

    def _accept(self, half: NDArray[np.int64], tried: Floats, gained: Floats) -> None:
        likelihood = self._log_likelihood(tried)
        chance = likelihood - self._likelihood[half] + gained
        taken = np.log(self._rng.random(len(half))) < chance
        self._z[half[taken]], self._likelihood[half[taken]] = tried[taken], likelihood[taken]

    def _prior(self, count: int) -> Floats:
        shape = (count, len(self._logistic))
        logistic, normal = self._rng.logistic(0, 1 / _STEEP, shape), self._rng.standard_normal(shape)
        return np.where(self._logistic, logistic, normal)

    def _log_prior(self, z: Floats) -> Floats:
        logistic = np.abs(z[:, self._logistic]) * _STEEP
        normal = z[:, ~self._logistic]
        result: Floats = -(logistic + 2 * np.log1p(np.exp(-logistic))).sum(axis=1) - (normal**2).sum(axis=1) / 2
        return result

    def _stages(self, z: Floats) -> list[SyntheticStage]:
        family, stages = self._family, []
        for part in np.split(z, family.stages, axis=1):
            units = 1 / (1 + np.exp(-_STEEP * part[:, : len(UNITS)]))
            over = UNITS.index("over")
            units[:, over] = np.maximum(0, 2 * units[:, over] - 1)
            deviations, keys = np.split(part[:, len(UNITS) :], [family.models], axis=1)
            order = keys.argsort(axis=1).argsort(axis=1) if family.twist == "sizes" else np.arange(family.models)
            stages.append(stage_of(family, units[:, None], deviations, order))
        return stages

    def _log_likelihood(self, z: Floats) -> Floats:
        of = self._of
        chances = np.clip(true_scores(self._family, self._stages(z), of.models, of.samples), 1e-9, 1 - 1e-9)
        if self._family.noise == "coin":
            result: Floats = np.log(chances) @ of.right[0] + np.log1p(-chances) @ (of.looks - of.right)[0]
            return result
        return _mixed(np.interp(chances, _CHANCES, _LEVELS), of)


class _Counts(NamedTuple):
    """Looks in groups of examples for which all the same was seen; a single group where any example is like another."""

    models: NDArray[np.int64]
    samples: Floats
    looks: Floats
    """Shape (groups, allocations), like `right`."""
    right: Floats
    examples: Floats
    """In each group, shape (groups,)."""


def _unseen(family: Family) -> _Counts:
    none = np.zeros((0, family.stages))
    return _Counts(none.astype(int), none, np.zeros((1, 0)), np.zeros((1, 0)), np.zeros(1))


def _counted(seen: Seen) -> _Counts:
    looks, right = (~np.isnan(seen.scores)).sum(axis=1, dtype=float), np.nansum(seen.scores, axis=1)
    return _Counts(seen.models, seen.samples, looks[None], right[None], np.ones(1))


def _patterns(seen: Seen) -> _Counts:
    codes = np.nan_to_num(seen.scores.T, nan=-1.0)
    groups, examples = np.unique(codes, axis=0, return_counts=True)
    return _Counts(seen.models, seen.samples, 1.0 * (groups >= 0), 1.0 * (groups == 1), examples.astype(float))


def _mixed(levels: Floats, of: _Counts) -> Floats:
    """Log likelihood of the looks where the log odds are a level and the example's difficulty, integrated over it.

    Args:
        levels: Shape (draws, allocations).
        of: The looks.
    """
    nodes = DIFFICULTY_SD * _NODES
    wrong = -np.logaddexp(0, levels.T[:, :, None] + nodes)
    summed = (of.looks @ wrong.reshape(len(wrong), -1)).reshape(len(of.looks), len(levels), -1)
    summed += (of.right @ levels.T)[:, :, None] + of.right.sum(axis=1)[:, None, None] * nodes + np.log(_NODE_WEIGHTS)
    most = summed.max(axis=2)
    logs = most + np.log(np.exp(summed - most[:, :, None]).sum(axis=2))
    result: Floats = of.examples @ logs
    return result


def _systematic(weights: Floats, count: int, start: float) -> NDArray[np.int64]:
    """So many indices drawn by weight, each as often as expected but for one; `start` in [0, 1) says which."""
    places = (np.arange(count) + start) / count
    return np.minimum(np.searchsorted(np.cumsum(weights / weights.sum()), places), len(weights) - 1)


class Untold:
    """A posterior for who is not told which insight is false: none, or one of three, at even odds before any look.

    Args:
        family: What the problem is drawn from, but for that.
        seed: Of the draws.
    """

    def __init__(self, family: Family, seed: int) -> None:
        self._parts = [Posterior(replace(family, twist=twist), seed) for twist in TWISTS]

    def scores(self, models: NDArray[np.int64], samples: Floats, draws: int = DRAWS) -> Floats:
        """As of `Posterior`."""
        evidence = np.array([part.evidence for part in self._parts])
        counts = np.bincount(_systematic(np.exp(evidence - evidence.max()), draws, 0.5), minlength=len(TWISTS))
        shares = zip(self._parts, counts, strict=True)
        return np.concatenate([part.scores(models, samples, count) for part, count in shares if count])

    def learn(self, seen: Seen) -> None:
        """As of `Posterior`."""
        for part in self._parts:
            part.learn(seen)


class Belief(NamedTuple):
    """What is recommended."""

    chosen: int
    """Index among the feasible allocations."""
    score: float
    interval: tuple[float, float]
    lost: float
    """How much more the best allocation is expected to score."""


class Search:
    """The oracle at work on one problem.

    Args:
        posed: The problem.
        seed: Of its draws.
        told: Whether it knows which insight is false.
    """

    def __init__(self, posed: Problem, seed: int, *, told: bool = True) -> None:
        assert isinstance(posed.environment, SyntheticEnvironment)
        self._environment, self._family = posed.environment, posed.environment.family
        self.posterior = (Posterior if told else Untold)(self._family, seed)
        self._rng = np.random.default_rng([20250803, seed])
        self.models, self.samples = feasible(posed.space)
        self.spent = 0
        self._rows: dict[int, Floats] = {}
        """Feasible allocation -> its scores, not a number where it was not looked at."""

    @property
    def trials(self) -> int:
        """Allocations that were looked at."""
        return len(self._rows)

    def allocation(self, index: int) -> at.Allocation:
        """As the environment knows it."""
        chosen = zip(self._environment.pipeline.subtasks, self.models[index], self.samples[index], strict=True)
        return at.Allocation({stage.name: (stage.models[model].name, int(count)) for stage, model, count in chosen})

    def believed(self) -> Belief:
        """What is recommended now."""
        means, tops = [], np.zeros(DRAWS)
        for start in range(0, len(self.models), _CHUNK):
            block = slice(start, start + _CHUNK)
            scores = self.posterior.scores(self.models[block], self.samples[block])
            means.append(scores.mean(axis=0))
            tops = np.maximum(tops, scores.max(axis=1))
        mean = np.concatenate(means)
        chosen = int(mean.argmax())
        own = self.posterior.scores(self.models[[chosen]], self.samples[[chosen]])[:, 0]
        low, high = np.quantile(own, [0.025, 0.975])
        return Belief(chosen, float(own.mean()), (float(low), float(high)), float(tops.mean() - own.mean()))

    def look(self, most: int) -> None:
        """Look at some examples of the allocation that promises most, and learn."""
        index, count = self._promising(most)
        row = self._rows.setdefault(index, np.full(self._family.examples, np.nan))
        new = np.flatnonzero(np.isnan(row))[:count]
        row[new] = self._environment.scores(self.allocation(index))[new]
        self.spent += len(new)
        tried = list(self._rows)
        self.posterior.learn(Seen(self.models[tried], self.samples[tried], np.array(list(self._rows.values()))))

    def _promising(self, most: int) -> tuple[int, int]:
        """An allocation, and at how many examples to look.

        It may be any: what is surely not the best can tell most of a parameter. A look at one makes the variance
        smaller of how much another is better than the recommended: most, where scores and looks are jointly normal, on
        average over which other may be the best.
        """
        listed = self._shortlist()
        others = self._rng.choice(len(self.models), min(_OTHERS, len(self.models)), replace=False)
        several = np.union1d(listed, [index for index in others if self._left(index)]).astype(int)
        scores = self.posterior.scores(self.models[several], self.samples[several])
        mean, covariance = scores.mean(axis=0), np.cov(scores.T).reshape(len(several), len(several))
        rivals = np.flatnonzero(np.isin(several, listed))
        chances = np.bincount(scores[:, rivals].argmax(axis=1), minlength=len(rivals)) / len(scores)
        better = covariance[:, rivals] - covariance[:, [rivals[mean[rivals].argmax()]]]
        looked = covariance.diagonal() + mean * (1 - mean) / most
        best = int(several[int(((better**2 / looked[:, None]) @ chances).argmax())])
        return best, min(most, self._left(best))

    def _left(self, index: int) -> int:
        """Examples of an allocation that were not looked at."""
        return int(np.isnan(self._rows[index]).sum()) if index in self._rows else self._family.examples

    def _shortlist(self) -> NDArray[np.int64]:
        """What may be worth a look: best in some draw, or among the best on average, and not looked at to the end."""
        mean, top, best = [], np.zeros(_FEW), np.zeros(_FEW, dtype=int)
        for start in range(0, len(self.models), _CHUNK):
            block = slice(start, start + _CHUNK)
            scores = self.posterior.scores(self.models[block], self.samples[block], _FEW)
            mean.append(scores.mean(axis=0))
            here = scores.argmax(axis=1)
            higher = scores[np.arange(_FEW), here] > top
            best[higher], top[higher] = start + here[higher], scores.max(axis=1)[higher]
        several = np.union1d(best, np.argsort(-np.concatenate(mean))[:_BEST])
        return np.array([index for index in several if self._left(index)])


@dataclass(frozen=True, kw_only=True)
class Run(Record):
    """One search of one problem."""

    method: str
    lost: dict[int, float] = field(default_factory=dict)
    """Example evaluations -> regret by the oracle's own belief."""
    claimed: dict[int, tuple[float, float, float, float]] = field(default_factory=dict)
    """Example evaluations -> posterior mean of the recommended, its 95 %, its true score."""


def searched(method: str, family: str, seed: int, last: int) -> Run:
    """The oracle's search."""
    started, posed = time.perf_counter(), problem(family, seed)
    search = Search(posed, seed, told=method == ORACLE)
    regrets, lost, claimed = {}, {}, {}
    for before, mark in pairwise((0, 0, *(mark for mark in (*MARKS, LAST) if mark <= last))):
        while search.spent < mark:
            # Finer where little is known: some 90 looks in all.
            search.look(min(max(10, before // 25), mark - search.spent))
        belief = search.believed()
        chosen = search.allocation(belief.chosen)
        regrets[mark], lost[mark] = posed.regret(chosen), belief.lost
        claimed[mark] = (belief.score, *belief.interval, posed.true_score(chosen))
    return Run(
        method=method,
        family=family,
        seed=seed,
        regrets=regrets,
        trials=search.trials,
        seconds=time.perf_counter() - started,
        lost=lost,
        claimed=claimed,
    )


def to_close(ours: Regrets, agents: Regrets, within: int) -> tuple[int, int]:
    """Example evaluations after which each one's regret stayed within `CLOSE`, by the marks that are known of both.

    Args:
        ours: Example evaluations -> regret.
        agents: The same, of the agent.
        within: What counts where it did not stay so.
    """
    marks = [mark for mark in MARKS if mark <= within and mark in ours and mark in agents]
    first, second = (settled({mark: of[mark] for mark in marks}, CLOSE) or within for of in (ours, agents))
    return first, second


def agent_searched(family: str, seed: int, last: int) -> Run:
    """The agent's search."""
    found, _ = agent_run(COLD, family, seed, min(last, WITHIN[0]), {})
    return Run(
        method=AGENT,
        family=family,
        seed=seed,
        regrets=found.regrets,
        trials=found.trials,
        seconds=found.seconds,
    )


def _job(method: str, family: str, seed: int, last: int) -> Run:
    return agent_searched(family, seed, last) if method == AGENT else searched(method, family, seed, last)


class _Compared:
    """The runs of all methods by problem.

    Args:
        runs: Of the oracle, and of the agent where it was asked for; the agent's own benchmark has the rest.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self.families = [family for family in FAMILIES if any(run.family == family for run in runs)]
        self._runs = {(run.method, run.family, run.seed): run for run in runs}
        self._kept = {
            (run["family"], run["seed"]): {int(mark): regret for mark, regret in run["regrets"].items()}
            for run in json.loads(SEARCHES.read_text())["runs"]
            if run["method"] == AGENT
        }

    def of(self, method: str, families: Sequence[str]) -> list[Run]:
        """A method's runs of these families."""
        return [run for (name, family, _), run in self._runs.items() if name == method and family in families]

    def agent_regrets(self, run: Run) -> Regrets:
        """The agent's on the problem of another run, by all that is known of it."""
        searched = self._runs.get((AGENT, run.family, run.seed))
        return {**(searched.regrets if searched else {}), **self._kept.get((run.family, run.seed), {})}

    def pairs(self, runs: Sequence[Run], method: str) -> list[tuple[Run, Run]]:
        """Those of these runs whose problem another method has searched, too, with that method's run."""
        found = ((run, self._runs.get((method, run.family, run.seed))) for run in runs)
        return [(run, other) for run, other in found if other]


def report(runs: Sequence[Run]) -> str:
    """Markdown: regrets of all families together and of each, what it takes to come close, and what was promised."""
    compared = _Compared(runs)
    groups = {family: [family] for family in compared.families}
    if len(groups) > 1:
        groups = {"all families": compared.families, **groups}
    oracles = compared.of(ORACLE, compared.families)
    marks = [mark for mark in SHOWN if all(mark in run.regrets for run in oracles)]
    lines = _head(["family", "", "problems", *(f"{mark:,}" for mark in marks)])
    for name, families in groups.items():
        lines += _regrets(name, compared, families, marks)
    lines += ["", f"Evaluations after which the regret stayed within {CLOSE}, or the most that count:", ""]
    lines += _head(["family", "", "problems", "at most", "evaluations", "the agent's", "of the agent's"])
    for name, families in groups.items():
        lines += _closeness(name, compared, families)
    lines += ["", "What the oracle promised of what it recommended:", ""]
    lines += _head(["evaluations", "the 95 % of its draws held the truth", "posterior mean less truth"])
    for mark in marks:
        claims = [run.claimed[mark] for run in oracles]
        held = sum(low <= truth <= high for _, low, high, truth in claims)
        lines.append(
            _row([f"{mark:,}", f"{held} of {len(claims)}", _mean([mean - truth for mean, *_, truth in claims])])
        )
    return "\n".join(lines)


def _regrets(name: str, compared: _Compared, families: Sequence[str], marks: Sequence[int]) -> Iterator[str]:
    for method in ORACLE, UNTOLD:
        runs = compared.of(method, families)
        if not runs:
            continue
        known = [mark for mark in marks if all(mark in run.regrets for run in runs)]
        agents = [compared.agent_regrets(run) for run in runs]
        agent = {mark: [of[mark] for of in agents] for mark in known if all(mark in of for of in agents)}
        less = {
            mark: [theirs - run.regrets[mark] for theirs, run in zip(of, runs, strict=True)]
            for mark, of in agent.items()
        }
        rows = {
            method: {mark: [run.regrets[mark] for run in runs] for mark in known},
            f"{method}, by its own belief": {mark: [run.lost[mark] for run in runs] for mark in known},
            AGENT: agent,
            f"agent less {method}, paired": less,
        }
        if method == UNTOLD:
            told = compared.pairs(runs, ORACLE)
            rows["untold less oracle, paired"] = {
                mark: [run.regrets[mark] - other.regrets[mark] for run, other in told] for mark in known
            }
        for row, values in rows.items():
            yield _row([name, row, str(len(runs)), *(_mean(values.get(mark, [])) for mark in marks)])


def _closeness(name: str, compared: _Compared, families: Sequence[str]) -> Iterator[str]:
    for method in ORACLE, UNTOLD:
        pairs = compared.pairs(compared.of(method, families), AGENT)
        for within in WITHIN if pairs else ():
            counts = [to_close(run.regrets, compared.agent_regrets(run), within) for run, _ in pairs]
            ours, agents = np.array(counts, dtype=float).T
            row = [name, method, str(len(pairs)), f"{within:,}"]
            yield _row([*row, _mean(ours, 0), _mean(agents, 0), ratio(ours, agents)])


def _head(cells: Sequence[str]) -> list[str]:
    return [_row(cells), "| --- " * len(cells) + "|"]


def _mean(values: Sequence[float] | Floats, digits: int = 4) -> str:
    return f"{np.mean(values):,.{digits}f} ± {half_width(values):,.{digits}f}" if len(values) else "-"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _kept(out: Path) -> tuple[list[str], list[Run]]:
    """What was run before: the commands, and the runs."""
    whole = json.loads(out.with_suffix(".json").read_text())
    by_mark = ("regrets", "lost", "claimed")
    runs = [
        Run(**{**run, **{name: {int(mark): value for mark, value in run[name].items()} for name in by_mark}})
        for run in whole["runs"]
    ]
    return whole["commands"], runs


def main() -> None:
    """Run, print the tables, and write them with everything else where `--out` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=list(COMPARED), choices=COMPARED)
    parser.add_argument("--methods", nargs="+", default=[ORACLE], choices=METHODS)
    parser.add_argument("--seeds", type=int, default=10, help="problems per family")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--last", type=int, default=LAST, choices=(*MARKS, LAST), help="example evaluations per run")
    parser.add_argument("--out", type=Path, help="write OUT.json and OUT.md")
    parser.add_argument("--resume", action="store_true", help="keep the runs of OUT.json, and make those it lacks")
    given = parser.parse_args()
    if given.resume and not given.out:
        parser.error("--resume needs --out: it keeps the runs of OUT.json")
    commands, runs = _kept(given.out) if given.resume else ([], [])
    commands.append(command())
    done = {(run.method, run.family, run.seed) for run in runs}
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        for family in given.families:
            for method in given.methods:
                if (method, family, seed) in done:
                    continue
                runs.append(_job(method, family, seed, given.last))
                if given.out:  # after each run: hours of work are not lost to the last minute
                    given.out.parent.mkdir(parents=True, exist_ok=True)
                    whole = {"commands": commands, "runs": [asdict(run) for run in runs]}
                    given.out.with_suffix(".json").write_text(json.dumps(whole) + "\n")
    page = _page(commands, runs)
    if given.out:
        given.out.with_suffix(".md").write_text(page)
    print(page)


def _page(commands: Sequence[str], runs: Sequence[Run]) -> str:
    made = "\n".join(f"`{each}`" for each in dict.fromkeys(commands))
    told = (
        "Synthetic problems, no model ran; means and half 95 % intervals, whatever the machine's load. Regret of what "
        "is recommended after so many example evaluations:"
    )
    return f"# What a searcher reaches that knows all but the coins\n\n{made}\n\n{told}\n\n{report(runs)}\n"


if __name__ == "__main__":
    main()
