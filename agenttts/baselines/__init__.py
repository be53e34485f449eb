"""Baselines on the same interface as the agent: random, grid, evolution, coordinate, halving, Optuna's, LLM-driven."""

from agenttts.baselines.agenthpo import AgentHPOSearcher
from agenttts.baselines.bayesian import GPSearcher, TPESearcher
from agenttts.baselines.coordinate import CoordinateSearcher
from agenttts.baselines.evolution import EvolutionSearcher
from agenttts.baselines.grid import GridSearcher
from agenttts.baselines.halving import HalvingSearcher
from agenttts.baselines.mlcopilot import MLCopilotSearcher
from agenttts.baselines.paper import PaperSearcher
from agenttts.baselines.random import RandomSearcher
from agenttts.baselines.zero_shot import ZeroShotSearcher

__all__ = [
    "AgentHPOSearcher",
    "CoordinateSearcher",
    "EvolutionSearcher",
    "GPSearcher",
    "GridSearcher",
    "HalvingSearcher",
    "MLCopilotSearcher",
    "PaperSearcher",
    "RandomSearcher",
    "TPESearcher",
    "ZeroShotSearcher",
]
