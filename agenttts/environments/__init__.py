"""Environments: they score allocations on examples, live or from recordings."""

from agenttts.environments.examples import load_examples
from agenttts.environments.live import LiveEnvironment
from agenttts.environments.recorded import RecordedEnvironment
from agenttts.environments.registry import environment, environment_names

__all__ = [
    "LiveEnvironment",
    "RecordedEnvironment",
    "environment",
    "environment_names",
    "load_examples",
]
