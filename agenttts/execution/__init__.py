"""One input on its way through a pipeline, every sample drawn through a pool that pays for it once."""

from agenttts.execution.meter import Meter
from agenttts.execution.pool import SamplePool
from agenttts.execution.run import current_step

__all__ = [
    "Meter",
    "SamplePool",
    "current_step",
]
