"""benchmarks/oracle.py: its draws are of the posterior, and its table has what was asked for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
# The posterior mean and deviation of every score, by the oracle and by weighing draws of the prior with what they make
# of the looks; the difficulty of an example is integrated out by another rule than the oracle's.
COMPARED = """
import json, sys
import numpy as np
from oracle import Posterior, Seen
from agenttts.environments.synthetic import DIFFICULTY_SD, Family

noise, twist = sys.argv[1:]
family = Family(name="tiny", stages=2, models=2, counts=(1, 8), examples=16, noise=noise, twist=twist)
grid = np.array([(m, s, n, t) for m in (0, 1) for s in (1, 8) for n in (0, 1) for t in (1, 8)])
models, samples = grid[:, ::2], grid[:, 1::2].astype(float)
rng = np.random.default_rng(0)
right = rng.random((5, 16)) < np.array([0.75, 0.8, 0.2, 0.6, 0.5])[:, None]
looks = np.where(rng.random((5, 16)) < 0.2, np.nan, right)

posterior = Posterior(family, 0)
for examples in 4, 8, 12, 16:
    posterior.learn(Seen(models[:5], samples[:5], np.where(np.arange(16) < examples, looks, np.nan)))
drawn = posterior.scores(models, samples)

scores = Posterior(family, 1, draws=20_000).scores(models, samples, 20_000)
chances, parts = scores[:, :5, None], np.ones(1)
if noise == "shared":
    nodes, parts = np.polynomial.hermite_e.hermegauss(24)
    parts, levels = parts / parts.sum(), np.linspace(-9, 9, 400)
    expected = (1 / (1 + np.exp(-levels[:, None] - DIFFICULTY_SD * nodes))) @ parts
    chances = 1 / (1 + np.exp(-np.interp(chances, expected, levels) - DIFFICULTY_SD * nodes))
weights = np.ones(len(scores))
for column in looks.T:
    seen = ~np.isnan(column)
    of_looks = np.where(column[seen, None] == 1, chances[:, seen], 1 - chances[:, seen])
    weights *= of_looks.prod(axis=1) @ parts
weights /= weights.sum()
mean = weights @ scores
deviation = np.sqrt(weights @ (scores - mean) ** 2)
told = [drawn.mean(axis=0), mean, drawn.std(axis=0), deviation, scores.mean(axis=0)]
print(json.dumps([each.tolist() for each in told] + [1 / (weights**2).sum()]))
"""
ROW = re.compile(r"\| table \| (oracle|untold) \| 1 \| 0\.\d{4} ± nan \| 0\.\d{4} ± nan \|")


def ran(*command: str) -> str:
    return subprocess.run([sys.executable, *command], cwd=BENCHMARKS, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(("noise", "twist"), [("coin", ""), ("shared", ""), ("coin", "sizes")])
def test_draws_are_of_the_posterior(noise: str, twist: str) -> None:
    mean, weighed, deviation, spread, prior, effective = json.loads(ran("-c", COMPARED, noise, twist))
    assert effective > 500, "what it is compared with is known well enough"
    assert max(abs(a - b) for a, b in zip(prior, weighed, strict=True)) > 0.1, "the looks say something"
    # 512 draws of deviations up to 0.1 leave a mean uncertain by 0.0045.
    assert mean == pytest.approx(weighed, abs=0.02)
    assert deviation == pytest.approx(spread, rel=0.2)


def test_a_problem_is_searched_and_compared() -> None:
    printed = ran("oracle.py", "--families", "table", "--methods", "oracle", "untold", "--seeds", "1", "--last", "100")
    rows = [match[1] for line in printed.splitlines() if (match := ROW.fullmatch(line))]
    assert rows == ["oracle", "untold"]
    assert "the regret stayed within 0.02" in printed
