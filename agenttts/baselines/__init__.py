"""Baselines on the same interface as the agent: random, grid, evolution, coordinate ascent, and Optuna's."""

from agenttts.baselines.bayesian import GPSearcher, TPESearcher
from agenttts.baselines.coordinate import CoordinateSearcher
from agenttts.baselines.evolution import EvolutionSearcher
from agenttts.baselines.grid import GridSearcher
from agenttts.baselines.random import RandomSearcher

__all__ = [
    "CoordinateSearcher",
    "EvolutionSearcher",
    "GPSearcher",
    "GridSearcher",
    "RandomSearcher",
    "TPESearcher",
]
