"""One input on its way through a pipeline, every sample drawn through a pool that pays for it once."""

from agenttts.execution.current import current_step
from agenttts.execution.meter import Meter
from agenttts.execution.pool import SamplePool

__all__ = [
    "Meter",
    "SamplePool",
    "current_step",
]
