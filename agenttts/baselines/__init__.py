"""Baselines on the same interface as the agent: random, grid, and Optuna's TPE and Gaussian process."""

from agenttts.baselines.bayesian import GPSearcher, TPESearcher
from agenttts.baselines.grid import GridSearcher
from agenttts.baselines.random import RandomSearcher

__all__ = ["GPSearcher", "GridSearcher", "RandomSearcher", "TPESearcher"]
