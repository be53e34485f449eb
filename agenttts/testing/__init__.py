"""For tests of pipelines and plug-ins: a scripted client, and the suites that every plug-in must pass."""

from agenttts.testing.aggregators import AggregatorSuite
from agenttts.testing.client import ScriptedClient
from agenttts.testing.environments import EnvironmentSuite
from agenttts.testing.operators import OperatorSuite
from agenttts.testing.searchers import SearcherSuite
from agenttts.testing.stores import SampleStoreSuite

__all__ = [
    "AggregatorSuite",
    "EnvironmentSuite",
    "OperatorSuite",
    "SampleStoreSuite",
    "ScriptedClient",
    "SearcherSuite",
]
