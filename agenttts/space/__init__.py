"""What can be chosen, and what one query of it costs."""

from agenttts.space.allocation import Allocation, Choice
from agenttts.space.cost import Budget, CostModel, cost_model
from agenttts.space.space import SearchSpace

__all__ = [
    "Allocation",
    "Budget",
    "Choice",
    "CostModel",
    "SearchSpace",
    "cost_model",
]
