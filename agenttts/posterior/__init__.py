"""What the trials say: the surrogate model, the insights it weighs, curves, and the frontier of several budgets."""

from agenttts.posterior.frontier import Frontier
from agenttts.posterior.insights import recommend
from agenttts.posterior.surrogate import Surrogate

__all__ = [
    "Frontier",
    "Surrogate",
    "recommend",
]
